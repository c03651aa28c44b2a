"""/v1/messages: Anthropic's form of chats."""
