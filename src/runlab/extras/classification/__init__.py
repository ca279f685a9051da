"""What is particular to the classification of images: their files, pictures and predictions."""
