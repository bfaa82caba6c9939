"""One small file per exchange type: routing key and headers in, bindings out."""
