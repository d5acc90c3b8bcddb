// Telling listeners, and reading the server's envelopes.

/** @typedef {Record<string, any>} Payload */

/** @typedef {{type: string, id?: string | number, payload: Payload}} Frame */

export class Listeners {
  /** @type {Map<string, Set<(event: any) => void>>} */
  #all = new Map();

  /**
   * @param {string} type
   * @param {(event: any) => void} listener
   * @returns {() => void} ends it
   */
  on(type, listener) {
    const those = this.#all.get(type) ?? new Set();
    this.#all.set(type, those.add(listener));
    return () => void those.delete(listener);
  }

  /**
   * A listener that throws stops neither the others nor the client.
   * @param {string} type
   * @param {object} event
   */
  tell(type, event) {
    for (const listener of [...(this.#all.get(type) ?? [])]) {
      try {
        listener(event);
      } catch (error) {
        console.error(error);
      }
    }
  }
}

/**
 * @param {string} text
 * @returns {Frame | null} null for what is no envelope: a newer server may say what this client cannot read
 */
export function readFrame(text) {
  try {
    const { type, id, payload } = JSON.parse(text);
    if (typeof type === "string") return { type, id, payload: payload !== null && typeof payload === "object" ? payload : {} };
  } catch {}
  return null;
}

/** randomUUID is for https and localhost alone, and plain HTTP serves others too. */
export function newKey() {
  const parts = crypto.getRandomValues(new Uint32Array(4));
  return crypto.randomUUID?.() ?? Array.from(parts, (part) => part.toString(36)).join("-");
}
