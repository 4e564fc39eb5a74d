"""The LSTM transducer of MLPerf Training."""
