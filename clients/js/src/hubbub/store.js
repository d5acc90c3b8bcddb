// Where what was not sent is kept: in IndexedDB, where tabs share it and it outlives them, or in memory.

/**
 * @typedef {object} Kept
 * @property {string} key
 * @property {string} scope whose outbox on which server
 * @property {string} owner the client that sends it
 * @property {string} room
 * @property {string} text
 * @property {number} at when it was written, ms since 1970
 * @property {number} sentAt when it was first on the wire; 0 for not yet
 * @property {{code: string, message: string} | null} error why it failed
 */

/**
 * @typedef {object} Store
 * @property {(scope: string) => Promise<Kept[]>} all
 * @property {(entries: Kept[]) => Promise<void>} put
 * @property {(key: string) => Promise<void>} delete
 */

const TABLE = "outbox";

/** @returns {Store} */
export function memoryStore() {
  const none = async () => {};
  return { all: async () => [], put: none, delete: none };
}

/**
 * @param {string} name of the database
 * @returns {Store}
 */
export function indexedStore(name) {
  /** @type {Promise<IDBDatabase> | null} */
  let opening = null;
  const open = () =>
    (opening ??= new Promise((resolve, reject) => {
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(TABLE, { keyPath: "key" });
      request.onsuccess = () => {
        // Whoever deletes the database, in another tab, is not to wait for this one.
        request.result.onversionchange = request.result.onclose = () => {
          request.result.close();
          opening = null;
        };
        resolve(request.result);
      };
      request.onerror = () => {
        opening = null;
        reject(request.error);
      };
    }));

  /**
   * @template T
   * @param {IDBTransactionMode} mode
   * @param {(table: IDBObjectStore) => IDBRequest<T> | void} work
   * @returns {Promise<T | undefined>}
   */
  async function transact(mode, work) {
    const database = await open();
    return new Promise((resolve, reject) => {
      const transaction = database.transaction(TABLE, mode);
      const request = work(transaction.objectStore(TABLE));
      // A page that goes right now would not be there to let the transaction end.
      if (mode === "readwrite") transaction.commit();
      transaction.oncomplete = () => resolve(request?.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  }

  return {
    async all(scope) {
      const found = await transact("readonly", (table) => /** @type {IDBRequest<Kept[]>} */ (table.getAll()));
      return (found ?? []).filter((entry) => entry.scope === scope).sort((one, other) => one.at - other.at);
    },
    async put(entries) {
      await transact("readwrite", (table) => entries.forEach((entry) => void table.put(entry)));
    },
    async delete(key) {
      await transact("readwrite", (table) => void table.delete(key));
    },
  };
}
