"""From a photo and a sentence to a mask at the photo's own size."""
