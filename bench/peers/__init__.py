"""What others would build for the same job, each as its documentation recommends, as fast as it can be made."""
