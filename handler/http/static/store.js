/** What the browser keeps: conversations and choices in localStorage, the key in sessionStorage, nothing elsewhere. */

// Several servers may share an origin, each behind its own path.
const PLACE = `firebrick:${new URL(".", document.baseURI).pathname}:`;
const CONVERSATION = `${PLACE}conversation:`;
const KEY = `${PLACE}key`;

/** An empty conversation with another one's options. */
export function newConversation(options = {}) {
  const now = Date.now();
  const random = crypto.getRandomValues(new Uint32Array(2));
  return { id: `${now}-${random.join("-")}`, title: "", updated: now, options: { ...options }, messages: [] };
}

/** All conversations, the latest first. */
export function readConversations() {
  const found = Object.keys(localStorage).filter((name) => name.startsWith(CONVERSATION));
  return found
    .map((name) => parsed(localStorage.getItem(name)))
    .filter((conversation) => Array.isArray(conversation?.messages))
    .sort((a, b) => b.updated - a.updated);
}

/** One conversation, as another tab may have left it; null if it isn't there. */
export function readConversation(id) {
  return parsed(localStorage.getItem(CONVERSATION + id));
}

/**
 * Keep a conversation.
 *
 * @returns {boolean} Whether there was room for it.
 */
export function keepConversation(conversation) {
  return keep(CONVERSATION + conversation.id, conversation);
}

/** Remove a conversation. */
export function dropConversation(id) {
  localStorage.removeItem(CONVERSATION + id);
}

/** Whether an event of the storage is about conversations. */
export function concernsConversations(event) {
  return event.key === null || event.key.startsWith(CONVERSATION);
}

/** A choice that was made earlier. */
export function readChoice(name, otherwise) {
  return parsed(localStorage.getItem(PLACE + name)) ?? otherwise;
}

/** Keep a choice. */
export function keepChoice(name, value) {
  keep(PLACE + name, value);
}

/** The API key of this session, if one was given. */
export function readKey() {
  return sessionStorage.getItem(KEY);
}

/** Keep the API key until the tab is closed; null forgets it. */
export function keepKey(key) {
  if (key === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, key);
}

function keep(name, value) {
  try {
    localStorage.setItem(name, JSON.stringify(value));
    return true;
  } catch {
    return false; // full
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
