import { describe, expect, test } from "bun:test";
import type { Event, MessageKey } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { decisionKey, messageKey } from "../../src/agent/mark.ts";
import { born, canceled, paused, requested, said, spoke } from "../support/events.ts";
import { codeIs, contract } from "../support/store-contract.ts";
import { appendOf, appendTo, creationOf, readAll } from "../support/stores.ts";

const key = (messageId: string, digest = "d"): MessageKey => ({ messageId, digest });
const decided = (callId: string, approve: boolean, id: MessageKey | null = null): Event => ({
  type: "ToolConfirmed",
  key: id,
  callId,
  approve,
  reason: "",
});
const forked: Event = {
  type: "AgentForked",
  parent: { agentId: "p", sequence: 1 },
  metadata: {},
};

contract("what a store keeps beside the log", (at) => {
  const marked = async (agentId: string, ...keys: readonly string[]): Promise<string[]> =>
    [...(await at.store.marks(agentId, keys)).values()]
      .map((mark) => `${mark.key}: ${mark.sequence} ${mark.digest}`)
      .toSorted();
  const m = messageKey;

  describe("marks", () => {
    test("say as which event an id was recorded, and what it came with", async () => {
      await at.create("a", said("1"), said("2", key("x")));
      await appendTo(at.store, "a", [said("3"), paused("p"), said("4", key("y", "e"))]);
      expect(await marked("a", m("x"), m("y"), m("z"))).toEqual([
        "message x: 3 d",
        "message y: 6 e",
      ]);
    });
    test("are found by their own key", async () => {
      await at.create("a", said("1", key("x")));
      const marks = await at.store.marks("a", [m("x")]);
      expect([...marks]).toEqual([[m("x"), { key: m("x"), sequence: 2, digest: "d" }]]);
    });
    test("of one key stay what they first were, in one append and in the next", async () => {
      await at.create("a", said("1", key("x", "first")), said("2", key("x", "second")));
      await appendTo(at.store, "a", [said("3", key("x", "third"))]);
      await appendTo(at.store, "a", [said("4", key("y", "1")), said("5", key("y", "2"))]);
      expect(await marked("a", m("x"), m("y"))).toEqual(["message x: 2 first", "message y: 5 1"]);
    });
    test("tell a decision, which is no message of the same name", async () => {
      await at.create("a", requested("c", 1, true), decided("c", false, key("c")));
      expect(await marked("a", decisionKey("c"), m("c"))).toEqual([
        "decision c: 3 rejected",
        "message c: 3 d",
      ]);
      await appendTo(at.store, "a", [decided("d", true)]);
      expect(await marked("a", decisionKey("d"))).toEqual(["decision d: 4 approved"]);
    });
    test("belong to their agent", async () => {
      await at.create("a", said("1", key("x")));
      await at.create("b", said("1"), said("2", key("x", "other")));
      expect(await marked("a", m("x"))).toEqual(["message x: 2 d"]);
      expect(await marked("b", m("x"))).toEqual(["message x: 3 other"]);
    });
    test("of an agent that is not there, or without a key asked for, are none", async () => {
      await at.create("a", said("1", key("x")));
      expect(await marked("b", m("x"))).toEqual([]);
      expect(await marked("a")).toEqual([]);
    });
    test("are not left by an append that was refused", async () => {
      await at.create("a", spoke("x", 1));
      const late = appendOf("a", [], [born(), said("1", key("x"))], { after: 0 });
      await expect(at.store.append(late)).rejects.toEqual(codeIs("conflict"));
      const stale = { epoch: 9 };
      await expect(appendTo(at.store, "a", [said("1", key("x"))], stale)).rejects.toEqual(
        codeIs("fenced"),
      );
      expect(await marked("a", m("x"))).toEqual([]);
    });
    test("are not left by a creation that was made before", async () => {
      const request = { requestId: "r", digest: "d" };
      await at.store.create(creationOf("a", [born()], { request }));
      await at.store.create(creationOf("b", [born(), said("1", key("x"))], { request }));
      expect(await marked("a", m("x"))).toEqual([]);
      expect(await marked("b", m("x"))).toEqual([]);
    });
    test("of a fork are its own: the copied messages' ids are free, the copied decisions hold", async () => {
      const copied = [said("1", key("x")), requested("c", 2, true), decided("c", true, key("y"))];
      await at.create("a", ...copied, forked, said("2", key("z")));
      expect(await marked("a", m("x"), m("y"), m("z"), decisionKey("c"))).toEqual([
        "decision c: 4 approved",
        "message z: 6 d",
      ]);
      await appendTo(at.store, "a", [said("3", key("x"))]);
      expect(await marked("a", m("x"))).toEqual(["message x: 7 d"]);
    });
    test("survive a restart, and still stand first", async () => {
      await at.create("a", said("1", key("x")));
      await appendTo(at.store, "a", [decided("c", true)]);
      await at.reopen();
      await appendTo(at.store, "a", [said("2", key("x", "e")), decided("c", false)]);
      await at.reopen();
      expect(await marked("a", m("x"), decisionKey("c"))).toEqual([
        "decision c: 3 approved",
        "message x: 2 d",
      ]);
    });
    test("go with a delete, and an agent of the same id has none of them", async () => {
      await at.create("a", said("1", key("x")));
      await at.store.remove("a", 1, true);
      expect(await marked("a", m("x"))).toEqual([]);
      await at.create("a");
      expect(await marked("a", m("x"))).toEqual([]);
    });
    test("keep any text that an id can be", async () => {
      const ids = ["", " ", "a b", "é🙂", "message x", "x".repeat(256), "'; --"];
      await at.create("a", ...ids.map((id, n) => said("", key(id, `${n}`))));
      await at.reopen();
      const marks = await at.store.marks("a", ids.map(m));
      expect(ids.map((id) => marks.get(m(id))?.digest)).toEqual(ids.map((_, n) => `${n}`));
    });
  });

  describe("a snapshot", () => {
    const stateOf = async (agentId: string) => fold(await readAll(at.store, agentId));

    test("is none until one is written", async () => {
      await at.create("a", said("1"));
      expect(await at.store.snapshot("a")).toBeNull();
      await appendTo(at.store, "a", [said("2")]);
      expect(await at.store.snapshot("a")).toBeNull();
    });
    test("is the state behind the append that it came with, though the log grows on", async () => {
      await at.create("a", said("1"));
      await appendTo(at.store, "a", [said("2"), said("3")], { snapshot: true });
      const state = await stateOf("a");
      expect(state.sequence).toBe(4);
      expect(await at.store.snapshot("a")).toEqual(state);
      await appendTo(at.store, "a", [said("4")]);
      expect(await at.store.snapshot("a")).toEqual(state);
    });
    test("is the newest", async () => {
      await at.create("a");
      await appendTo(at.store, "a", [said("1")], { snapshot: true });
      await appendTo(at.store, "a", [said("2")], { snapshot: true });
      expect(await at.store.snapshot("a")).toEqual(await stateOf("a"));
    });
    test("comes with a worker's append as with a command's", async () => {
      await at.store.create(creationOf("a", [born()], { wakeAtMs: 0 }));
      const [lease] = await at.store.claim({ worker: "w", untilMs: 100 }, 0, 1);
      const { epoch } = lease!;
      await appendTo(at.store, "a", [spoke("x", 1)], { epoch, snapshot: true });
      expect(await at.store.snapshot("a")).toEqual(await stateOf("a"));
    });
    test("of an append that was refused is not kept", async () => {
      await at.create("a", said("1"));
      await appendTo(at.store, "a", [said("2")], { snapshot: true });
      const kept = await stateOf("a");
      const late = appendOf("a", (await readAll(at.store, "a")).slice(0, 2), [canceled], {
        snapshot: true,
      });
      await expect(at.store.append(late)).rejects.toEqual(codeIs("conflict"));
      const stale = { snapshot: true, epoch: 9 };
      await expect(appendTo(at.store, "a", [canceled], stale)).rejects.toEqual(codeIs("fenced"));
      expect(await at.store.snapshot("a")).toEqual(kept);
    });
    test("belongs to its agent", async () => {
      await at.create("a");
      await at.create("b");
      await appendTo(at.store, "a", [said("of a")], { snapshot: true });
      expect(await at.store.snapshot("b")).toBeNull();
      await appendTo(at.store, "b", [said("of b")], { snapshot: true });
      expect(await at.store.snapshot("a")).toEqual(await stateOf("a"));
      expect(await at.store.snapshot("b")).toEqual(await stateOf("b"));
    });
    test("survives a restart, with any text in it", async () => {
      await at.create("a", said("a\u0000b 🙂 \ud83d \u2028"));
      await appendTo(at.store, "a", [paused('"\\')], { snapshot: true });
      await at.reopen();
      expect(await at.store.snapshot("a")).toEqual(await stateOf("a"));
      await appendTo(at.store, "a", [canceled], { snapshot: true });
      await at.reopen();
      expect(await at.store.snapshot("a")).toEqual(await stateOf("a"));
    });
    test("goes with a delete; of an agent that is not there it is not_found", async () => {
      await expect(at.store.snapshot("a")).rejects.toEqual(codeIs("not_found"));
      await at.create("a");
      await appendTo(at.store, "a", [said("1")], { snapshot: true });
      await at.store.remove("a", 1, true);
      await expect(at.store.snapshot("a")).rejects.toEqual(codeIs("not_found"));
      await at.create("a");
      expect(await at.store.snapshot("a")).toBeNull();
    });
    test("cannot be changed by whoever was given it", async () => {
      await at.create("a");
      await appendTo(at.store, "a", [said("1")], { snapshot: true });
      const given = await at.store.snapshot("a");
      Object.assign(given!.turn, { steps: 99 });
      expect(await at.store.snapshot("a")).toEqual(await stateOf("a"));
    });
  });
});
