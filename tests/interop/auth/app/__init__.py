"""An app whose users are vouched for by the tests: the keys come in as a `data:` URI."""
