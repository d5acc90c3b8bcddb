// A test runner in a page: test() names a rule, runAll() tries them all.

const tests = [];

export function test(rule, run) {
  tests.push({ rule, run });
}

// Returns one line for each rule that does not hold.
export async function runAll() {
  if (tests.length === 0) return ["no test was found"];
  const failures = [];
  for (const { rule, run } of tests) {
    try {
      await run();
    } catch (error) {
      failures.push(`${rule}: ${error.stack}`);
    }
  }
  return failures;
}

export function equal(actual, expected) {
  const [got, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (got !== wanted) throw new Error(`got ${got}, wanted ${wanted}`);
}

export async function thrownBy(run) {
  try {
    await run();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

export class FakeStorage {
  items = new Map();

  getItem(key) {
    return this.items.get(key) ?? null;
  }

  setItem(key, value) {
    this.items.set(key, value);
  }

  removeItem(key) {
    this.items.delete(key);
  }
}
