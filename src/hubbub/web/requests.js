// Requests waiting for their ack or error, by id.

export class Requests {
  #last = 0;
  #open = new Map();

  // Ids go on counting over a reconnect, so a late answer finds nobody.
  open(type, context, now) {
    this.#last += 1;
    const id = `c${this.#last}`;
    this.#open.set(id, { type, context, now });
    return id;
  }

  settle(id) {
    const request = this.#open.get(id);
    this.#open.delete(id);
    return request;
  }

  // A page cannot see pings: a request without an answer is how it notices a dead line.
  hasOlderThan(ms, now) {
    for (const request of this.#open.values()) if (now - request.now > ms) return true;
    return false;
  }

  forget() {
    this.#open.clear();
  }
}
