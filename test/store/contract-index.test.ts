import { beforeEach, describe, expect, test } from "bun:test";
import type { Event } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import type { Status } from "../../src/agent/state.ts";
import { storeLimits } from "../../src/limits.ts";
import type { DraftPiece } from "../../src/store/store.ts";
import {
  answered,
  callAfter,
  canceled,
  paused,
  plainSpec,
  requested,
  said,
  spoke,
  turnFailed,
} from "../support/events.ts";
import { codeIs, contract } from "../support/store-contract.ts";
import { appendTo, holder, readAll } from "../support/stores.ts";

contract("rows, lists and drafts of a store", (at) => {
  const lease = async (agentId: string, nowMs: number, untilMs: number): Promise<number> => {
    await appendTo(at.store, agentId, [said("wake")], { atMs: nowMs, wakeAtMs: nowMs });
    const [taken] = await at.store.claim({ worker: "w", untilMs }, nowMs, 1);
    return taken!.epoch;
  };

  describe("row", () => {
    test("is what the log's fold says, through every kind of change and a restart", async () => {
      await at.create("a");
      const changes: readonly (readonly Event[])[] = [
        [said("1")],
        [paused("lunch")],
        [{ type: "AgentResumed", key: null }],
        [spoke("one", 4), requested("call_6", null)],
        [{ type: "AgentEdited", key: null, spec: { ...plainSpec, model: "b" }, description: "d" }],
        [turnFailed],
        [canceled],
      ];
      for (const events of changes) {
        await appendTo(at.store, "a", events);
        await at.reopen();
        const state = fold(await readAll(at.store, "a"));
        const { createdAtMs, updatedAtMs, reason, sequence, stats, spec, parent } = state;
        const row = await at.store.row("a", 0);
        expect(row).toMatchObject({ agentId: "a", reason, sequence, stats, spec, parent });
        expect(row).toMatchObject({ createdAtMs, updatedAtMs });
      }
    });
    test("of a fork tells its parent and its own metadata", async () => {
      const parent = { agentId: "p", sequence: 1 };
      await at.create("a", { type: "AgentForked", parent, metadata: { k: "v" } });
      const row = await at.store.row("a", 0);
      expect(row).toMatchObject({ parent, spec: { metadata: { k: "v" } }, sequence: 2 });
      expect(row?.status).toBe("waiting_for_input");
    });
    test("says processing while somebody drives the agent and it has work, no longer", async () => {
      await at.create("a");
      const epoch = await lease("a", 10, 100);
      const status = async (nowMs: number): Promise<Status | undefined> =>
        (await at.store.row("a", nowMs))?.status;
      expect(await status(99)).toBe("processing");
      expect(await status(100)).toBe("waiting_for_step");
      await appendTo(at.store, "a", [paused()], { atMs: 50 });
      expect(await status(99)).toBe("paused");
      await appendTo(at.store, "a", [{ type: "AgentResumed", key: null }], { atMs: 51 });
      expect(await status(99)).toBe("processing");
      await appendTo(at.store, "a", [spoke("x", 4)], { epoch, leaseUntilMs: 100 });
      expect(await status(99)).toBe("waiting_for_input");
    });
    test("of an agent that is not there is none", async () => {
      expect(await at.store.row("a", 0)).toBeNull();
    });
  });

  describe("list", () => {
    const ids = async (
      status: Status | null,
      limit = 100,
      beforeAgentId: string | null = null,
    ): Promise<string[]> =>
      (await at.store.list({ status, limit, beforeAgentId }, 50)).map(({ agentId }) => agentId);

    test("is newest first, and its rows are what `row` gives", async () => {
      for (const agentId of ["b", "a", "c"]) await at.create(agentId);
      expect(await ids(null)).toEqual(["c", "b", "a"]);
      const rows = await at.store.list({ status: null, limit: 9, beforeAgentId: null }, 50);
      expect(rows[0]).toEqual((await at.store.row("c", 50))!);
    });
    test("filters by every status", async () => {
      await at.create("1");
      await at.create("2", spoke("x", 1));
      await at.create("3", requested("call_2", 1, true));
      await at.create("4", paused());
      await at.create("5", answered("x", 1));
      await at.create("6", turnFailed);
      await at.create("7", canceled);
      await at.create("8");
      await lease("8", 10, 51);
      await at.create("9");
      await lease("9", 10, 50);
      expect(await ids("waiting_for_step")).toEqual(["9", "1"]);
      expect(await ids("processing")).toEqual(["8"]);
      expect(await ids("waiting_for_input")).toEqual(["2"]);
      expect(await ids("waiting_for_confirmation")).toEqual(["3"]);
      expect(await ids("paused")).toEqual(["4"]);
      expect(await ids("completed")).toEqual(["5"]);
      expect(await ids("failed")).toEqual(["6"]);
      expect(await ids("canceled")).toEqual(["7"]);
    });
    test("pages without gap or double while agents come and go", async () => {
      for (let n = 0; n < 9; n++) await at.create(`a${n}`);
      const first = await ids(null, 3);
      expect(first).toEqual(["a8", "a7", "a6"]);
      await at.create("a9");
      await at.store.remove("a6", 1, true);
      await at.store.remove("a4", 1, true);
      const second = await ids(null, 3, first.at(-1));
      expect(second).toEqual(["a5", "a3", "a2"]);
      expect(await ids(null, 3, second.at(-1))).toEqual(["a1", "a0"]);
      expect(await ids(null, 3, "a0")).toEqual([]);
    });
    test("pages what it filters", async () => {
      for (let n = 0; n < 6; n++) await at.create(`a${n}`, ...(n % 2 === 0 ? [paused()] : []));
      expect(await ids("paused", 2)).toEqual(["a4", "a2"]);
      expect(await ids("paused", 2, "a2")).toEqual(["a0"]);
    });
  });

  describe("remove", () => {
    test("of a working agent needs force, of any other not", async () => {
      await at.create("a");
      await expect(at.store.remove("a", 1, false)).rejects.toEqual(codeIs("failed_precondition"));
      expect(await at.store.row("a", 0)).not.toBeNull();
      await at.store.remove("a", 1, true);
      expect(await at.store.row("a", 0)).toBeNull();
      await at.create("b", spoke("x", 1));
      await at.store.remove("b", 1, false);
      expect(await at.store.list({ status: null, limit: 9, beforeAgentId: null }, 0)).toEqual([]);
    });
    test("takes log, draft, lease and wake time with it", async () => {
      await at.create("a");
      const epoch = await lease("a", 10, 100);
      await at.store.writeDraft(holder("a", epoch), callAfter(2), []);
      await at.store.remove("a", 1, true);
      await expect(at.store.read("a", 0)).rejects.toEqual(codeIs("not_found"));
      await expect(at.store.writeDraft(holder("a", epoch), callAfter(2), [])).rejects.toEqual(
        codeIs("not_found"),
      );
      expect(await at.store.readDraft("a", 0)).toBeNull();
      expect(await at.store.nextWakeMs()).toBeNull();
      expect(await at.store.renew([holder("a", epoch)], 5)).toEqual(["a"]);
    });
    test("of an agent that is not there, or no more, is not_found", async () => {
      await expect(at.store.remove("a", 1, true)).rejects.toEqual(codeIs("not_found"));
      await at.create("a");
      await at.store.remove("a", 1, true);
      await expect(at.store.remove("a", 1, true)).rejects.toEqual(codeIs("not_found"));
    });
    test("can be repeated for an id that was taken in again", async () => {
      await at.create("a");
      await at.store.remove("a", 1, true);
      await at.create("a", said("again"));
      expect(await readAll(at.store, "a")).toHaveLength(2);
      await at.store.remove("a", 2, true);
      expect(await at.store.row("a", 0)).toBeNull();
    });
  });

  describe("a draft", () => {
    const text = (offset: number, content: string): DraftPiece => ({
      kind: "text",
      offset,
      content,
    });
    let epoch = 0;
    beforeEach(async () => {
      await at.create("a");
      epoch = await lease("a", 10, 100);
    });

    test("grows by pieces, is read from any of them on, and survives a restart", async () => {
      const call = callAfter(2, { tools: [{ name: "t", description: "", parameters: {} }] });
      const thought: DraftPiece = { kind: "thinking", offset: 0, content: "hm" };
      expect(await at.store.readDraft("a", 0)).toBeNull();
      await at.store.writeDraft(holder("a", epoch), call, [thought, text(0, "Õ")]);
      await at.store.writeDraft(holder("a", epoch), call, [text(2, "ne")]);
      await at.reopen();
      const pieces = [thought, text(0, "Õ"), text(2, "ne")];
      for (const from of [0, 1, 2, 3, 9])
        expect(await at.store.readDraft("a", from)).toEqual({
          call,
          pieces: pieces.slice(from),
          piecesTotal: 3,
        });
    });
    test("of another call takes the place of the one before", async () => {
      await at.store.writeDraft(holder("a", epoch), callAfter(1), [text(0, "Old"), text(3, "er")]);
      await at.store.writeDraft(holder("a", epoch), callAfter(2), [text(0, "New")]);
      const draft = { call: callAfter(2), pieces: [text(0, "New")], piecesTotal: 1 };
      expect(await at.store.readDraft("a", 0)).toEqual(draft);
    });
    test("that is taken up again keeps its pieces and says how it goes on now", async () => {
      await at.store.writeDraft(holder("a", epoch), callAfter(2), [text(0, "One")]);
      const again = callAfter(2, { continuedLength: 3 });
      await at.store.writeDraft(holder("a", epoch), again, [text(3, ", two")]);
      expect(await at.store.readDraft("a", 0)).toEqual({
        call: again,
        pieces: [text(0, "One"), text(3, ", two")],
        piecesTotal: 2,
      });
    });
    test("is dropped by the append that supersedes it, by no other and by no refused one", async () => {
      await at.store.writeDraft(holder("a", epoch), callAfter(2), [text(0, "One")]);
      await appendTo(at.store, "a", [said("x")]);
      const stale = { epoch: epoch - 1, dropDraft: true };
      await expect(appendTo(at.store, "a", [spoke("x", 2)], stale)).rejects.toEqual(
        codeIs("fenced"),
      );
      expect(await at.store.readDraft("a", 0)).toMatchObject({ piecesTotal: 1 });
      await appendTo(at.store, "a", [spoke("One", 2)], {
        epoch,
        dropDraft: true,
        leaseUntilMs: 100,
      });
      expect(await at.store.readDraft("a", 0)).toBeNull();
      await at.store.writeDraft(holder("a", epoch), callAfter(4), [text(0, "Two")]);
      expect(await at.store.readDraft("a", 0)).toMatchObject({ pieces: [text(0, "Two")] });
    });
    test("is refused behind a pause, and what was written before it is kept", async () => {
      await at.store.writeDraft(holder("a", epoch), callAfter(2), [text(0, "One")]);
      await appendTo(at.store, "a", [paused()]);
      await expect(
        at.store.writeDraft(holder("a", epoch), callAfter(2), [text(3, "!")]),
      ).rejects.toEqual(codeIs("conflict"));
      expect(await at.store.readDraft("a", 0)).toMatchObject({ pieces: [text(0, "One")] });
    });
    test("is read in pages", async () => {
      const count = storeLimits.readEventsMax + 3;
      const pieces = Array.from({ length: count }, (_, n) => text(n, "x"));
      await at.store.writeDraft(holder("a", epoch), callAfter(2), pieces);
      const first = await at.store.readDraft("a", 0);
      expect(first?.pieces).toHaveLength(storeLimits.readEventsMax);
      expect(first?.piecesTotal).toBe(count);
      const rest = await at.store.readDraft("a", storeLimits.readEventsMax);
      expect(rest?.pieces).toEqual(pieces.slice(storeLimits.readEventsMax));
    });
    test("hints at each piece, when it can be read", async () => {
      const totals: Promise<number | undefined>[] = [];
      const stop = at.store.follow("a", () =>
        totals.push(at.store.readDraft("a", 0).then((it) => it?.piecesTotal)),
      );
      await at.store.writeDraft(holder("a", epoch), callAfter(2), [text(0, "One")]);
      await at.store.writeDraft(holder("a", epoch), callAfter(2), [text(3, "!")]);
      stop();
      expect(await Promise.all(totals)).toEqual([1, 2]);
    });
    test("keeps any well-formed text", async () => {
      const texts = ["a\u0000b", "🙂", "\u2028\n", ""];
      const pieces = texts.map((content, n) => text(n, content));
      await at.store.writeDraft(holder("a", epoch), callAfter(2), pieces);
      await at.reopen();
      expect((await at.store.readDraft("a", 0))?.pieces).toEqual(pieces);
    });
  });
});
