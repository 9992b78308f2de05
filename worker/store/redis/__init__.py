"""The store in one Redis or Valkey that all worker processes of a fleet share."""
