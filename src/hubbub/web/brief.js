// A session that the reader did not want to be kept: it ends with its last tab.
//
// The cookie outlives the tabs, and no script can read it. So each tab notes for itself that it belongs to the session,
// and a page that does not, and finds no tab that does, ends the session before anybody goes on with it.

const KEY = "hubbub.brief";
const CHANNEL = "hubbub.brief";
const ANSWER_MS = 150;

export class Brief {
  #channel;

  constructor({ local, session, BroadcastChannel }) {
    this.local = local;
    this.session = session;
    this.#channel = new BroadcastChannel(CHANNEL);
    this.#channel.addEventListener("message", ({ data }) => {
      if (data === "anyone?" && this.#isOurs) this.#channel.postMessage("here");
    });
  }

  // Somebody has signed in, and wants the session to be kept, or not.
  begin(isKept) {
    if (isKept) return this.end();
    this.local.setItem(KEY, "1");
    this.session.setItem(KEY, "1");
  }

  end() {
    this.local.removeItem(KEY);
    this.session.removeItem(KEY);
  }

  // Returns whether there was such a session, and its last tab is gone.
  async isOver() {
    if (this.local.getItem(KEY) === null || this.#isOurs) return false;
    if (!(await this.#isAnyone())) return true;
    this.session.setItem(KEY, "1");
    return false;
  }

  get #isOurs() {
    return this.session.getItem(KEY) !== null;
  }

  #isAnyone() {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), ANSWER_MS);
      this.#channel.addEventListener("message", ({ data }) => {
        if (data !== "here") return;
        clearTimeout(timer);
        resolve(true);
      });
      this.#channel.postMessage("anyone?");
    });
  }
}
