"""/v1/responses: OpenAI's newer form of chats, in which an answer is a list of items."""
