import { describe, expect, test } from "bun:test";
import type { Event } from "../../src/agent/event.ts";
import { messageKey } from "../../src/agent/mark.ts";
import { storeLimits } from "../../src/limits.ts";
import { chainHash, decodeEvent, encodeEvent, genesisHash } from "../../src/store/codec.ts";
import type { DraftPiece, Moved } from "../../src/store/store.ts";
import { born, callAfter, logged, paused, resumed, said } from "../support/events.ts";
import { claiming, codeIs, contract } from "../support/store-contract.ts";
import { appendTo, creationOf, holder, readAll } from "../support/stores.ts";

const request = { requestId: "r1", digest: "d1" };
const empty: Moved = { draft: null, workedMs: 0, epoch: 5 };

const piece = (kind: DraftPiece["kind"], offset: number, content: string): DraftPiece => ({
  kind,
  offset,
  content,
});
const call = callAfter(2, { continuedLength: 3, tools: [] });
const draft = {
  call,
  pieces: [piece("thinking", 0, "hm "), piece("text", 0, "grün 🙂"), piece("text", 10, "\0")],
};

contract("an agent that moves between stores", (at) => {
  const { claimOne } = claiming(at);
  /** A log of a paused agent, with a mark. */
  const log: readonly Event[] = [
    born(),
    said("hi", { messageId: "m", digest: "d" }),
    paused("to move"),
  ];
  const moveIn = (agentId: string, moved: Moved, named = true) =>
    at.store.create(creationOf(agentId, log, { moved, request: named ? request : null }));

  describe("is read", () => {
    test("as it is kept: bodies to the byte, and hashes from the beginning on", async () => {
      await at.create("a", ...log.slice(1), said('\ud83d "\u0000\\ü'));
      await at.reopen();
      let hash = genesisHash("a");
      const expected = logged([...log, said('\ud83d "\u0000\\ü')]).map(({ event, ...place }) => {
        const body = encodeEvent(event);
        hash = chainHash(hash, place.sequence, place.atMs, body);
        return { ...place, body, hash: hash.toHex() };
      });
      expect(await at.store.readStored("a", 0)).toEqual(expected);
      expect(await at.store.readStored("a", 2)).toEqual(expected.slice(2));
      expect(await at.store.readStored("a", 4)).toEqual([]);
      await expect(at.store.readStored("b", 0)).rejects.toEqual(codeIs("not_found"));
    });
    test("in the pages in which its events are read", async () => {
      const events = Array.from({ length: storeLimits.readEventsMax }, (_, n) => said(`${n}`));
      await at.create("a", ...events);
      const page = await at.store.readStored("a", 0);
      const decoded = page.map(({ sequence, atMs, body }) => ({
        sequence,
        atMs,
        event: decodeEvent(body),
      }));
      expect(decoded).toEqual([...(await at.store.read("a", 0))]);
    });
    test("with its request id and what it has worked", async () => {
      await at.store.create(creationOf("a", [born()], { request, wakeAtMs: 0 }));
      await at.create("b");
      expect(await at.store.aside("b")).toEqual({ request: null, workedMs: 0 });
      const lease = await claimOne("w", 0);
      await at.store.release({ ...lease, workedMs: 12.5 }, null, null);
      await at.reopen();
      expect(await at.store.aside("a")).toEqual({ request, workedMs: 12.5 });
      await expect(at.store.aside("c")).rejects.toEqual(codeIs("not_found"));
    });
  });

  describe("is made", () => {
    test("with its draft, its request id and its work, all in one", async () => {
      const answer = await moveIn("a", { draft, workedMs: 12.5, epoch: 5 });
      expect(answer).toEqual({ agentId: "a", created: true, lease: null });
      await at.reopen();
      expect(await at.store.aside("a")).toEqual({ request, workedMs: 12.5 });
      expect(await at.store.readDraft("a", 0)).toEqual({ ...draft, piecesTotal: 3 });
      expect(await at.store.readDraft("a", 2)).toEqual({
        call,
        pieces: draft.pieces.slice(2),
        piecesTotal: 3,
      });
      expect(await readAll(at.store, "a")).toEqual([...logged(log)]);
      expect([...(await at.store.marks("a", [messageKey("m")])).values()]).toEqual([
        { key: messageKey("m"), sequence: 2, digest: "d" },
      ]);
      expect(await at.store.row("a", 0)).toMatchObject({ status: "paused", sequence: 3 });
      expect(await at.store.nextWakeMs()).toBeNull();
    });
    test("without a draft where it has none", async () => {
      await moveIn("a", { ...empty, workedMs: 7 }, false);
      expect(await at.store.readDraft("a", 0)).toBeNull();
      expect(await at.store.aside("a")).toEqual({ request: null, workedMs: 7 });
    });
    test("so that its next worker goes on with the draft, at an epoch behind the given one", async () => {
      await moveIn("a", { draft, workedMs: 12.5, epoch: 5 });
      await appendTo(at.store, "a", [resumed], { atMs: 10, wakeAtMs: 10 });
      expect(await claimOne("w", 10)).toMatchObject({ epoch: 6, claims: 1, workedMs: 12.5 });
      await at.store.writeDraft(holder("a", 6), call, [piece("text", 11, "more")]);
      expect(await at.store.readDraft("a", 3)).toEqual({
        call,
        pieces: [piece("text", 11, "more")],
        piecesTotal: 4,
      });
    });
  });

  test("takes over what stands aside, with its draft", async () => {
    const dated = logged(log).map(({ atMs, event }) => ({ atMs, event }));
    await at.store.stage("a", 0, dated.slice(0, 2), at.store.nowMs());
    const rest = { staged: 2, events: dated.slice(2), nowMs: at.store.nowMs() };
    const moved = { draft, workedMs: 3, epoch: 5 };
    await at.store.create(creationOf("a", log, { ...rest, moved, request }));
    await at.reopen();
    expect(await readAll(at.store, "a")).toEqual([...logged(log)]);
    expect(await at.store.readDraft("a", 0)).toEqual({ ...draft, piecesTotal: 3 });
    expect(await at.store.aside("a")).toEqual({ request, workedMs: 3 });
  });

  describe("is not made", () => {
    test("where its id is there, which changes nothing", async () => {
      await at.store.create(creationOf("a", [born()], { request }));
      const before = await at.store.row("a", 0);
      for (const named of [true, false])
        await expect(moveIn("a", { ...empty, draft }, named)).rejects.toEqual(
          codeIs("already_exists"),
        );
      expect(await at.store.row("a", 0)).toEqual(before);
      expect(await at.store.readDraft("a", 0)).toBeNull();
      // Its request id stands for it as before.
      const again = await at.store.create(creationOf("b", [born()], { request }));
      expect(again).toMatchObject({ agentId: "a", created: false });
    });
    test("where its request id is another agent's, which is named", async () => {
      for (const digest of ["d1", "d2"]) {
        const taken = { requestId: `r-${digest}`, digest: "d1" };
        await at.store.create(creationOf(`other-${digest}`, [born()], { request: taken }));
        await expect(
          at.store.create(
            creationOf("a", log, { moved: empty, request: { requestId: `r-${digest}`, digest } }),
          ),
        ).rejects.toThrow(`request_id r-${digest} was used for agent other-${digest}`);
      }
      expect(await at.store.row("a", 0)).toBeNull();
    });
  });

  test("is not taken for the one that was read, where it comes back with another past", async () => {
    const events = [born(), said("1"), said("2")];
    await at.create("a", ...events.slice(1));
    const [first, second, third] = logged(events).map(({ atMs }) => atMs);
    const known = (after: number, atMs: number | undefined) => at.store.read("a", after, atMs);
    expect(await known(1, first)).toHaveLength(2);
    expect(await known(2, second)).toHaveLength(1);
    expect(await known(3, third)).toEqual([]);
    for (const [after, atMs] of [
      [1, second],
      [2, first],
      [3, second],
      [4, third],
    ] as const)
      await expect(known(after, atMs)).rejects.toEqual(codeIs("conflict"));
  });
  test("comes back where it was deleted, with its request id, and can be deleted again", async () => {
    await at.store.create(creationOf("a", log, { request, wakeAtMs: 0 }));
    const { epoch } = await claimOne("w", 0);
    await at.store.remove("a", 1, true);
    await moveIn("a", { draft, workedMs: 0, epoch: 1_000 });
    expect(await readAll(at.store, "a")).toEqual([...logged(log)]);
    const again = await at.store.create(creationOf("b", [born()], { request }));
    expect(again).toMatchObject({ agentId: "a", created: false });
    // Who drove it then has nothing to say of it any more.
    await expect(
      appendTo(at.store, "a", [said("late")], { epoch, leaseUntilMs: 9 }),
    ).rejects.toEqual(codeIs("fenced"));
    await at.store.remove("a", 2, false);
    expect(await at.store.readDraft("a", 0)).toBeNull();
    await moveIn("a", empty);
    expect(await at.store.row("a", 0)).toMatchObject({ sequence: 3 });
  });
});
