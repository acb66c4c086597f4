"""What others would build for the same job, each as its documentation recommends it for speed."""
