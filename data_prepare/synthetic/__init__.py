"""An earnings-call corpus spoken by eSpeak NG and laid out as the real corpora are."""
