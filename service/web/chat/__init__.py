"""The chat page: conversations, replies as they are written, and all that can be said about them."""
