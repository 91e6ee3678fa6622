"""What happens between topics: the flow API, routing and delivery."""
