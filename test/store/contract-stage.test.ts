import { describe, expect, test } from "bun:test";
import type { Event, MessageKey } from "../../src/agent/event.ts";
import { decisionKey, messageKey } from "../../src/agent/mark.ts";
import { storeLimits } from "../../src/limits.ts";
import { encodeEvent, genesisHash } from "../../src/store/codec.ts";
import { chained } from "../../src/store/staging.ts";
import { born, logged, said } from "../support/events.ts";
import { codeIs, contract } from "../support/store-contract.ts";
import { appendTo, creationOf, readAll, takingOver } from "../support/stores.ts";

const key = (messageId: string, digest = "d"): MessageKey => ({ messageId, digest });
const approved = (callId: string, id: MessageKey | null = null): Event => ({
  type: "ToolConfirmed",
  key: id,
  callId,
  approve: true,
  reason: "",
});
const forked = (sequence: number): Event => ({
  type: "AgentForked",
  parent: { agentId: "p", sequence },
  metadata: {},
});
const dated = (events: readonly Event[]) =>
  logged(events).map(({ atMs, event }) => ({ atMs, event }));
const headHash = (agentId: string, events: readonly Event[]): string => {
  const placed = dated(events).map(({ atMs, event }) => ({ atMs, body: encodeEvent(event) }));
  return chained(genesisHash(agentId), 0, placed).at(-1)?.toHex() ?? "";
};
const five = [born(), said("1", key("x")), said("2"), said("3", key("y")), said("4")];
const request = { requestId: "r", digest: "d" };

contract("events that stand aside", (at) => {
  const nowMs = (): number => at.store.nowMs();
  /** Of `events` those behind `after`, up to `until`. */
  const stage = (
    agentId: string,
    events: readonly Event[],
    [after, until]: readonly [number, number] = [0, events.length],
  ): Promise<void> => at.store.stage(agentId, after, dated(events).slice(after, until), nowMs());
  const take = (
    agentId: string,
    staged: number,
    events: readonly Event[],
    over: Parameters<typeof takingOver>[3] = {},
  ) => at.store.create(takingOver(agentId, staged, events, { nowMs: nowMs(), ...over }));
  const marked = async (agentId: string, ...keys: readonly string[]): Promise<string[]> =>
    [...(await at.store.marks(agentId, keys)).values()]
      .map((mark) => `${mark.key}: ${mark.sequence} ${mark.digest}`)
      .toSorted();
  const conflict = codeIs("conflict");
  const thereAlready = codeIs("already_exists");

  describe("until a creation takes them over", () => {
    test("are seen by nobody", async () => {
      await stage("a", five);
      expect(await at.store.row("a", 0)).toBeNull();
      expect(await at.store.list({ status: null, limit: 9, beforeAgentId: null }, 0)).toEqual([]);
      expect(await marked("a", messageKey("x"))).toEqual([]);
      expect(await at.store.nextWakeMs()).toBeNull();
      expect(await at.store.claim({ worker: "w", untilMs: 9e15 }, 8e15, 9)).toEqual([]);
      expect(await at.store.readDraft("a", 0)).toBeNull();
      await expect(at.store.read("a", 0)).rejects.toEqual(codeIs("not_found"));
      await expect(at.store.snapshot("a")).rejects.toEqual(codeIs("not_found"));
      await expect(at.store.remove("a", 1, true)).rejects.toEqual(codeIs("not_found"));
      await expect(appendTo(at.store, "a", [said("5")])).rejects.toEqual(codeIs("not_found"));
    });
    test("can be thrown away, so that another log begins there", async () => {
      await at.store.unstage("a");
      await stage("a", five);
      const other = [born({ waitForInput: true }), said("other", key("x", "e"))];
      await expect(stage("a", other)).rejects.toEqual(conflict);
      await at.store.unstage("a");
      await at.store.unstage("b");
      await stage("a", other);
      await take("a", 2, other);
      expect(await readAll(at.store, "a")).toEqual([...logged(other)]);
      expect(await marked("a", messageKey("x"), messageKey("y"))).toEqual(["message x: 2 e"]);
      await at.store.unstage("a");
      expect(await readAll(at.store, "a")).toEqual([...logged(other)]);
    });
    test("tell no follower", async () => {
      let hints = 0;
      const stops = [at.store.follow("a", () => hints++), at.store.followWakes(() => hints++)];
      await stage("a", five);
      expect(hints).toBe(0);
      await take("a", 5, five, { wakeAtMs: nowMs() });
      expect(hints).toBe(2);
      for (const stop of stops) stop();
    });
    test("leave other agents alone, made before and after", async () => {
      await at.create("b", said("of b", key("x", "b")));
      await stage("a", five, [0, 2]);
      await at.create("c", said("of c", key("x", "c")));
      await stage("d", five, [0, 3]);
      await appendTo(at.store, "c", [said("more of c")]);
      await stage("a", five, [2, 5]);
      await take("a", 5, five);
      await take("d", 3, five.slice(0, 3));
      expect(await readAll(at.store, "a")).toEqual(logged(five));
      expect(await readAll(at.store, "b")).toHaveLength(2);
      expect(await readAll(at.store, "c")).toHaveLength(3);
      expect(await readAll(at.store, "d")).toEqual(logged(five.slice(0, 3)));
      for (const [agentId, digest] of [
        ["a", "d"],
        ["b", "b"],
        ["c", "c"],
        ["d", "d"],
      ] as const)
        expect(await marked(agentId, messageKey("x"))).toEqual([`message x: 2 ${digest}`]);
    });
  });

  describe("a creation that names them", () => {
    test("makes the agent from them and what it brings", async () => {
      await stage("a", five, [0, 2]);
      await stage("a", five, [2, 4]);
      const answer = await take("a", 4, five);
      expect(answer).toEqual({ agentId: "a", created: true, lease: null });
      expect(await readAll(at.store, "a")).toEqual(logged(five));
      expect(await at.store.row("a", 0)).toMatchObject({ sequence: 5, status: "waiting_for_step" });
      expect(await marked("a", messageKey("x"), messageKey("y"))).toEqual([
        "message x: 2 d",
        "message y: 4 d",
      ]);
      await appendTo(at.store, "a", [said("5", key("x", "late"))]);
      await at.reopen();
      expect(await readAll(at.store, "a")).toEqual(logged([...five, said("5", key("x", "late"))]));
      expect(await marked("a", messageKey("x"))).toEqual(["message x: 2 d"]);
    });
    test("makes it due, and gives the lease that it wished for", async () => {
      await stage("a", five);
      const wish = { worker: "w", untilMs: nowMs() + 100 };
      const { lease } = await take("a", 5, five, { wakeAtMs: nowMs(), wish });
      expect(lease).toMatchObject({ agentId: "a", epoch: 1, claims: 1, recovered: false });
      expect(await at.store.nextWakeMs()).toBe(wish.untilMs);
    });
    test("by another number is a conflict and makes none", async () => {
      await stage("a", five, [0, 3]);
      for (const staged of [0, 2, 4])
        await expect(take("a", staged, five, { events: [] })).rejects.toEqual(conflict);
      await expect(take("b", 3, five)).rejects.toEqual(conflict);
      expect(await at.store.row("a", 0)).toBeNull();
      await take("a", 3, five);
      expect(await readAll(at.store, "a")).toEqual(logged(five));
    });
    test("makes it once: the second finds it there", async () => {
      await stage("a", five);
      const outcomes = await Promise.allSettled([take("a", 5, five), take("a", 5, five)]);
      expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
      await expect(take("a", 5, five)).rejects.toEqual(thereAlready);
      await expect(take("a", 4, five)).rejects.toEqual(thereAlready);
      expect(await readAll(at.store, "a")).toEqual(logged(five));
    });
    test("with a request id seen before answers the agent made then", async () => {
      await stage("a", five);
      expect(await take("a", 5, five, { request })).toMatchObject({ agentId: "a", created: true });
      await stage("b", five);
      for (const staged of [4, 5])
        expect(await take("b", staged, five, { request })).toMatchObject({
          agentId: "a",
          created: false,
        });
      expect(await take("a", 4, five, { request })).toMatchObject({ agentId: "a", created: false });
      expect(await at.store.row("b", 0)).toBeNull();
      const other = { ...request, digest: "e" };
      await expect(take("b", 5, five, { request: other })).rejects.toEqual(thereAlready);
    });
    test("leaves nothing of them aside", async () => {
      await stage("a", five);
      await take("a", 5, five);
      await at.store.remove("a", 1, true);
      await expect(take("a", 5, five)).rejects.toEqual(conflict);
      await at.store.create(creationOf("a", [born()], { nowMs: nowMs() }));
      expect(await readAll(at.store, "a")).toHaveLength(1);
      expect(await marked("a", messageKey("x"))).toEqual([]);
    });
    test("keeps the state as a snapshot, where it says so", async () => {
      await stage("a", five);
      await take("a", 5, five, { snapshot: true });
      await at.store.create(creationOf("b", [born()], { snapshot: true }));
      await stage("c", five);
      await take("c", 5, five);
      await at.reopen();
      expect(await at.store.snapshot("a")).toEqual(creationOf("a", five).state);
      expect(await at.store.snapshot("b")).toEqual(creationOf("b", [born()]).state);
      expect(await at.store.snapshot("c")).toBeNull();
    });
  });

  describe("the hash that a log has to end with", () => {
    test("is that of its last event, however it came", async () => {
      await at.store.create(creationOf("a", five, { headHash: headHash("a", five) }));
      await stage("b", five);
      await take("b", 5, five, { headHash: headHash("b", five) });
      await stage("c", five, [0, 3]);
      await take("c", 3, five, { headHash: headHash("c", five) });
      for (const agentId of ["a", "b", "c"])
        expect(await readAll(at.store, agentId)).toEqual(logged(five));
    });
    test("and does not, is invalid_argument: nothing is made, and nothing stands aside any more", async () => {
      const other = headHash("b", five);
      const wrong = codeIs("invalid_argument");
      await expect(at.store.create(creationOf("a", five, { headHash: other }))).rejects.toEqual(
        wrong,
      );
      await stage("a", five);
      await expect(take("a", 5, five, { headHash: other })).rejects.toEqual(wrong);
      expect(await at.store.row("a", 0)).toBeNull();
      await expect(take("a", 5, five)).rejects.toEqual(conflict);
      const less = five.slice(0, 2);
      await stage("a", less);
      await take("a", 2, less);
      expect(await readAll(at.store, "a")).toEqual(logged(less));
      expect(await marked("a", messageKey("x"), messageKey("y"))).toEqual(["message x: 2 d"]);
    });
  });

  describe("pages", () => {
    test("go behind what stands aside, or nowhere", async () => {
      await expect(stage("a", five, [1, 3])).rejects.toEqual(conflict);
      await stage("a", five, [0, 2]);
      await expect(stage("a", five, [3, 5])).rejects.toEqual(conflict);
      await expect(take("a", 5, five, { events: [] })).rejects.toEqual(conflict);
      await stage("a", five, [2, 5]);
      await take("a", 5, five);
      expect(await readAll(at.store, "a")).toEqual(logged(five));
    });
    test("that stand there already are not written twice, wherever they begin and end", async () => {
      const spans = [
        [0, 2],
        [0, 2],
        [0, 1],
        [1, 2],
        [0, 4],
        [2, 4],
        [1, 5],
        [0, 5],
        [4, 5],
      ] as const;
      for (const span of spans) await stage("a", five, span);
      await stage("a", five, [5, 5]);
      await take("a", 5, five);
      expect(await readAll(at.store, "a")).toEqual(logged(five));
      expect(await marked("a", messageKey("x"), messageKey("y"))).toEqual([
        "message x: 2 d",
        "message y: 4 d",
      ]);
    });
    test("with other events in the place of some that stand there are a conflict", async () => {
      await stage("a", five, [0, 3]);
      const others = [...five.slice(0, 2), said("another"), ...five.slice(3)];
      for (const span of [
        [0, 3],
        [2, 3],
        [0, 5],
        [2, 5],
      ] as const)
        await expect(stage("a", others, span)).rejects.toEqual(conflict);
      await stage("a", five, [3, 5]);
      await take("a", 5, five);
      expect(await readAll(at.store, "a")).toEqual(logged(five));
    });
    test("of two that race are one's, and the other's creation fails", async () => {
      const others = [...five.slice(0, 4), said("another")];
      const outcomes = await Promise.allSettled([stage("a", five), stage("a", others)]);
      expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
      const [won, lost] = outcomes[0]?.status === "fulfilled" ? [five, others] : [others, five];
      await expect(
        take("a", 5, lost, { headHash: headHash("a", won).replaceAll(/^./g, "x") }),
      ).rejects.toEqual(codeIs("invalid_argument"));
    });
    test("of two that race with the same events are both's", async () => {
      await Promise.all([stage("a", five), stage("a", five, [0, 3])]);
      await take("a", 5, five);
      expect(await readAll(at.store, "a")).toEqual(logged(five));
    });
    test("for an agent that is there are already_exists", async () => {
      await at.create("a");
      await expect(stage("a", five)).rejects.toEqual(thereAlready);
      await expect(stage("a", five, [1, 3])).rejects.toEqual(thereAlready);
      expect(await readAll(at.store, "a")).toHaveLength(1);
    });
    test("may be given many at once, with any text in them", async () => {
      const { stagedEventsMax, stagedBytesMax } = storeLimits;
      const many = [
        born(),
        ...Array.from({ length: 2 * stagedEventsMax }, (_, n) => said(`${n}`, key(`m${n}`))),
        said("x".repeat(2 * stagedBytesMax)),
        said("a\u0000b 🙂 \ud83d \u2028", key("'; --")),
      ];
      await stage("a", many);
      await take("a", many.length, many, { headHash: headHash("a", many) });
      await at.reopen();
      expect(await readAll(at.store, "a")).toEqual(logged(many));
      const last = messageKey(`m${2 * stagedEventsMax - 1}`);
      expect(await marked("a", messageKey("m0"), last, messageKey("'; --"))).toEqual([
        `message '; --: ${many.length} d`,
        "message m0: 2 d",
        `message m${2 * stagedEventsMax - 1}: ${2 * stagedEventsMax + 1} d`,
      ]);
    });
  });

  describe("a fork among them", () => {
    const m = messageKey;
    const { stagedEventsMax } = storeLimits;
    /** More marks than are cleared at once, of both kinds. */
    const copied = [
      born(),
      ...Array.from({ length: 2 * stagedEventsMax }, (_, n) => said(`${n}`, key(`m${n}`))),
      ...Array.from({ length: 9 }, (_, n) => approved(`c${n}`, key(`k${n}`))),
    ];
    const whole = [
      ...copied,
      forked(copied.length),
      said("own", key("m1", "own")),
      approved("c1"),
      said("own too", key("n", "own")),
    ];
    const sequence = copied.length + 1;
    const expected = [
      "decision c0: 514 approved",
      "decision c1: 515 approved",
      `message m1: ${sequence + 1} own`,
      `message n: ${sequence + 3} own`,
    ];
    const look = (agentId: string) =>
      marked(agentId, m("m0"), m("m1"), m("k1"), m("n"), decisionKey("c0"), decisionKey("c1"));

    test.each([
      ["in one call", [[0, whole.length]], whole.length],
      [
        "in a page of its own",
        [
          [0, sequence - 1],
          [sequence - 1, sequence],
          [sequence, whole.length],
        ],
        whole.length,
      ],
      [
        "at a page's end",
        [
          [0, 9],
          [9, sequence],
          [sequence, whole.length],
        ],
        whole.length,
      ],
      ["with the creation", [[0, sequence - 1]], sequence - 1],
      [
        "at a page's beginning",
        [
          [0, sequence - 1],
          [sequence - 1, sequence + 2],
        ],
        sequence + 2,
      ],
    ] as const)("frees the ids of the messages before it: %s", async (_, spans, staged) => {
      for (const span of spans) await stage("a", whole, span);
      await take("a", staged, whole);
      expect(await look("a")).toEqual(expected);
      await appendTo(at.store, "a", [said("again", key("m0", "new"))]);
      expect(await marked("a", m("m0"))).toEqual([`message m0: ${whole.length + 1} new`]);
    });
    test("and another behind it: the last counts", async () => {
      const twice = [...whole, forked(whole.length), said("last", key("n", "last"))];
      await stage("a", twice);
      await take("a", twice.length, twice);
      expect(await look("a")).toEqual([...expected.slice(0, 2), `message n: ${twice.length} last`]);
    });
    test("may be repeated", async () => {
      for (let n = 0; n < 2; n++) await stage("a", whole, [0, sequence + 1]);
      await stage("a", whole, [sequence - 1, whole.length]);
      await take("a", whole.length, whole);
      expect(await look("a")).toEqual(expected);
    });
  });
});
