// The tab's title: the room, and how many messages came while nobody looked.

export class Title {
  #unread = 0;
  #room = "";

  constructor(page) {
    this.page = page;
    page.addEventListener("visibilitychange", () => {
      if (page.hidden) return;
      this.#unread = 0;
      this.#write();
    });
  }

  show(room) {
    this.#room = room;
    this.#write();
  }

  heard() {
    if (!this.page.hidden) return;
    this.#unread += 1;
    this.#write();
  }

  clear() {
    this.#unread = 0;
    this.show("");
  }

  #write() {
    const count = this.#unread > 0 ? `(${this.#unread}) ` : "";
    const title = count + (this.#room ? `${this.#room} · Hubbub` : "Hubbub");
    if (this.page.title !== title) this.page.title = title;
  }
}
