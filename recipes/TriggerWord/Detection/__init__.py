"""When was the word said?"""
