import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { join } from "node:path";
import { makeKnownDamage } from "../../src/store/sqlite/damage.ts";
import { openReads } from "../../src/store/sqlite/reads.ts";
import { born, said } from "../support/events.ts";
import { codeIs } from "../support/store-contract.ts";
import { appendTo, creationOf, folderFixture } from "../support/stores.ts";

let place: ReturnType<typeof folderFixture>;
beforeEach(async () => {
  place = folderFixture();
  const store = place.open();
  for (const agentId of ["a", "b"]) {
    await store.create(creationOf(agentId, [born(), said(`to ${agentId}`)]));
    await appendTo(store, agentId, [said("one")], { snapshot: true });
    await appendTo(store, agentId, [said("two")]);
  }
  await store.close();
});
afterEach(() => place.drop());

/** The snapshot as the reading half gives it, behind a change of the file. */
async function snapshotBehind(...statements: readonly string[]): Promise<unknown> {
  const db = new Database(join(place.folder, "engram.db"));
  for (const statement of statements) db.run(statement);
  const reads = openReads(
    db,
    makeKnownDamage(() => {}),
  );
  try {
    return await reads.snapshot("a").catch((error: unknown) => error);
  } finally {
    reads.finalize();
    db.close(true);
  }
}

const idOf = (agentId: string): string => `(SELECT id FROM agent WHERE agent_id = '${agentId}')`;

test("a snapshot that nobody changed is given", async () => {
  expect(await snapshotBehind()).toMatchObject({ sequence: 3 });
});

test.each([
  ["text", `UPDATE snapshot SET body = replace(body, 'to a', 'to o')`],
  ["hash", `UPDATE snapshot SET hash = zeroblob(32)`],
  ["place, an earlier one,", `UPDATE snapshot SET sequence = 2`],
  ["place, a later one,", `UPDATE snapshot SET sequence = 4`],
  ["place, one that is not there,", `UPDATE snapshot SET sequence = 9`],
])("a snapshot whose %s is another is corrupt", async (_, statement) => {
  expect(await snapshotBehind(statement)).toEqual(codeIs("corrupt"));
});

test("another agent's snapshot is corrupt", async () => {
  const taken = await snapshotBehind(
    `DELETE FROM snapshot WHERE agent = ${idOf("a")}`,
    `UPDATE snapshot SET agent = ${idOf("a")}`,
  );
  expect(taken).toEqual(codeIs("corrupt"));
});
