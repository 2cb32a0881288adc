import { describe, expect, test } from "bun:test";
import { born, callAfter, paused, said, spoke } from "../support/events.ts";
import { claiming, codeIs, contract } from "../support/store-contract.ts";
import { appendOf, appendTo, creationOf, holder, readAll } from "../support/stores.ts";

contract("the leases of a store", (at) => {
  const { create, claim, claimOne } = claiming(at);

  describe("claim", () => {
    test("takes who is due, those longest due first, up to the limit", async () => {
      for (const [agentId, wakeAtMs] of [
        ["a", 30],
        ["b", 10],
        ["c", null],
        ["d", 20],
        ["e", 99],
      ] as const)
        await create(agentId, wakeAtMs);
      const ids = async (limit: number): Promise<string[]> =>
        (await at.store.claim({ worker: "w", untilMs: 500 }, 50, limit)).map((it) => it.agentId);
      expect(await ids(0)).toEqual([]);
      expect(await ids(2)).toEqual(["b", "d"]);
      expect(await ids(9)).toEqual(["a"]);
      expect(await ids(9)).toEqual([]);
      expect(await at.store.nextWakeMs()).toBe(99);
    });
    test("raises the epoch each time, and counts the claims since a worker wrote or let go", async () => {
      await create("a", 0);
      const first = await claimOne("w1", 0);
      expect(first).toEqual({ agentId: "a", epoch: 1, claims: 1, recovered: false, workedMs: 0 });
      expect(await claim("w2", 99)).toEqual([]);
      const second = await claimOne("w2", 100);
      expect(second).toEqual({ agentId: "a", epoch: 2, claims: 2, recovered: true, workedMs: 0 });
      await appendTo(at.store, "a", [said("a command does not help")], { atMs: 150 });
      const third = await claimOne("w3", 200);
      expect(third).toEqual({ agentId: "a", epoch: 3, claims: 3, recovered: true, workedMs: 0 });
      await appendTo(at.store, "a", [spoke("x", 2)], { epoch: 3, wakeAtMs: 250 });
      expect(await claimOne("w4", 250)).toEqual({
        agentId: "a",
        epoch: 4,
        claims: 1,
        recovered: false,
        workedMs: 0,
      });
    });
    test("counts anew from a worker's append that keeps the lease, a draft or a release", async () => {
      await create("a", 0);
      await claim("w", 0);
      await claim("w", 100);
      await appendTo(at.store, "a", [said("x")], { epoch: 2, leaseUntilMs: 200 });
      expect(await claimOne("w", 200)).toMatchObject({ claims: 1 });
      await claim("w", 300);
      await at.store.writeDraft(holder("a", 4), callAfter(2), []);
      expect(await claimOne("w", 400)).toMatchObject({ claims: 1 });
      const lease = await claimOne("w", 500);
      expect(lease).toMatchObject({ claims: 2 });
      await at.store.release(lease, null, 600);
      expect(await claimOne("w", 600)).toMatchObject({ claims: 1, recovered: false, workedMs: 0 });
    });
    test("leaves those that are named to others", async () => {
      for (const [agentId, wakeAtMs] of [
        ["a", 1],
        ["b", 2],
        ["c", 3],
      ] as const)
        await create(agentId, wakeAtMs);
      const skip = new Set(["a", "b", "unknown"]);
      expect(await at.store.nextWakeMs(skip)).toBe(3);
      expect(await at.store.nextWakeMs(new Set(["a", "b", "c"]))).toBeNull();
      const wish = { worker: "w", untilMs: 500 };
      const taken = await at.store.claim(wish, 50, 2, skip);
      expect(taken.map(({ agentId }) => agentId)).toEqual(["c"]);
      const rest = await at.store.claim(wish, 50, 9);
      expect(rest.map(({ agentId }) => agentId)).toEqual(["a", "b"]);
    });
    test("gives those that it was often claimed in vain behind all others, one at a time, the least tried first", async () => {
      for (const agentId of ["a", "b", "c"]) await create(agentId, 0);
      const ids = async (nowMs: number, limit = 10): Promise<string[]> =>
        (await at.store.claim({ worker: "w", untilMs: nowMs + 100 }, nowMs, limit)).map(
          (lease) => `${lease.agentId} ${lease.claims}`,
        );
      expect(await ids(0)).toHaveLength(3);
      expect(await ids(100)).toHaveLength(3);
      // All three have been left twice without a word.
      const trusted = { worker: "w", untilMs: 300, trustedOnly: true };
      expect(await at.store.claim(trusted, 200, 10)).toEqual([]);
      await create("d", 150);
      expect(await ids(200, 0)).toEqual([]);
      expect(await ids(200)).toEqual(["d 1"]);
      const first = await ids(201);
      expect(first).toHaveLength(1);
      expect(first[0]).toEndWith(" 3");
      // The other two come before the one that was tried three times, each alone.
      const tried = [await ids(310), await ids(311), await ids(312)].flat();
      expect(tried.map((one) => one.slice(2))).toEqual(["2", "3", "3"]);
      expect(await ids(415)).toHaveLength(1);
    });
    test("finds whoever stands behind many of those, however few are asked for", async () => {
      for (const agentId of ["a", "b", "c"]) await create(agentId, 0);
      for (const nowMs of [0, 100])
        expect(await at.store.claim({ worker: "w", untilMs: nowMs + 100 }, nowMs, 9)).toHaveLength(
          3,
        );
      for (const agentId of ["d", "e"]) await create(agentId, 250);
      const wish = { worker: "w", untilMs: 900 };
      for (const fresh of ["d", "e"])
        expect(await at.store.claim(wish, 300, 1)).toMatchObject([{ agentId: fresh }]);
      expect(await at.store.claim(wish, 300, 1)).toMatchObject([{ claims: 3 }]);
    });
    test("is not counted anew by a command that drops a draft", async () => {
      await create("a", 0);
      await claim("w", 0);
      await at.store.writeDraft(holder("a", 1), callAfter(1), []);
      await claim("w", 100);
      await appendTo(at.store, "a", [said("x")], { atMs: 150, dropDraft: true });
      expect(await claimOne("w", 200)).toMatchObject({ claims: 2 });
    });
  });

  describe("peers", () => {
    test("are known until they are silent for too long, by what they said last", async () => {
      await at.store.probe();
      const nowMs = at.store.nowMs();
      expect(await at.store.peers(nowMs)).toEqual([]);
      await at.store.announce({ worker: "w1", tools: { clock: "aa" } }, nowMs + 60_000);
      await at.store.announce({ worker: "w2", tools: {} }, nowMs + 120_000);
      await at.store.announce(
        { worker: "w1", tools: { clock: "bb", dates: "cc" } },
        nowMs + 90_000,
      );
      const known = async (atMs: number) =>
        (await at.store.peers(atMs)).toSorted((a, b) => (a.worker < b.worker ? -1 : 1));
      expect(await known(nowMs + 89_999)).toEqual([
        { worker: "w1", tools: { clock: "bb", dates: "cc" } },
        { worker: "w2", tools: {} },
      ]);
      expect(await known(nowMs + 90_000)).toEqual([{ worker: "w2", tools: {} }]);
      await at.store.announce({ worker: "w2", tools: {} }, nowMs - 1);
      expect((await known(nowMs)).map(({ worker }) => worker)).not.toContain("w2");
    });
  });

  describe("a wish", () => {
    const wish = { worker: "w", untilMs: 500 };

    test("is granted with a creation that is due, so that nobody else claims it", async () => {
      const due = creationOf("a", [born()], { atMs: 10, wakeAtMs: 10, wish });
      const { lease } = await at.store.create(due);
      expect(lease).toEqual({ agentId: "a", epoch: 1, claims: 1, recovered: false, workedMs: 0 });
      expect(await claim("other", 499)).toEqual([]);
      expect(await at.store.row("a", 499)).toMatchObject({ status: "processing" });
      expect(await claimOne("other", 500)).toMatchObject({
        epoch: 2,
        recovered: true,
        workedMs: 0,
      });
    });
    test("is not granted where the agent is not due", async () => {
      const later = creationOf("a", [born()], { atMs: 10, wakeAtMs: 11, wish });
      expect(await at.store.create(later)).toMatchObject({ lease: null });
      const resting = creationOf("b", [born()], { atMs: 10, wakeAtMs: null, wish });
      expect(await at.store.create(resting)).toMatchObject({ lease: null });
      expect(await at.store.nextWakeMs()).toBe(11);
    });
    test("is granted with a command to a free agent, not to one that is driven", async () => {
      await create("a", null);
      const due = { atMs: 10, wakeAtMs: 10, wish };
      expect(await appendTo(at.store, "a", [said("1")], due)).toMatchObject({ epoch: 1 });
      const taken = await appendTo(at.store, "a", [said("2")], {
        ...due,
        atMs: 499,
        wakeAtMs: 499,
      });
      expect(taken).toBeNull();
      const late = { atMs: 500, wakeAtMs: 500, wish: { worker: "other", untilMs: 900 } };
      expect(await appendTo(at.store, "a", [said("3")], late)).toEqual({
        agentId: "a",
        epoch: 2,
        claims: 2,
        recovered: true,
        workedMs: 0,
      });
    });
    test("of two in one turn of the loop is granted once", async () => {
      await create("a", null);
      const log = await readAll(at.store, "a");
      const due = { atMs: 10, wakeAtMs: 10, wish };
      const outcomes = await Promise.allSettled([
        at.store.append(appendOf("a", log, [said("1")], due)),
        at.store.append(appendOf("a", log, [said("2")], due)),
      ]);
      expect(outcomes).toMatchObject([
        { status: "fulfilled", value: { epoch: 1 } },
        { status: "rejected", reason: { code: "conflict" } },
      ]);
    });
  });

  describe("an older epoch", () => {
    test("is fenced: neither its append nor its draft is written", async () => {
      await create("a", 0);
      const old = await claimOne("w1", 0);
      await at.store.writeDraft(holder("a", old.epoch), callAfter(1), [
        { kind: "text", offset: 0, content: "On" },
      ]);
      await claimOne("w2", 100, 1000);
      const before = [await at.store.row("a", 0), await at.store.readDraft("a", 0)];
      const stale = { epoch: old.epoch, dropDraft: true, wakeAtMs: 5 };
      await expect(appendTo(at.store, "a", [spoke("x", 1)], stale)).rejects.toEqual(
        codeIs("fenced"),
      );
      await expect(
        at.store.writeDraft(holder("a", old.epoch), callAfter(1), [
          { kind: "text", offset: 2, content: "e" },
        ]),
      ).rejects.toEqual(codeIs("fenced"));
      expect(await readAll(at.store, "a")).toHaveLength(1);
      expect([await at.store.row("a", 0), await at.store.readDraft("a", 0)]).toEqual(before);
      expect(await at.store.nextWakeMs()).toBe(1000);
    });
    test("is fenced, not in conflict, also where the head has moved", async () => {
      await create("a", 0);
      await claimOne("w1", 0);
      await claimOne("w2", 100);
      const log = await readAll(at.store, "a");
      await appendTo(at.store, "a", [said("x")]);
      const stale = appendOf("a", log, [spoke("x", 1)], { epoch: 1 });
      await expect(at.store.append(stale)).rejects.toEqual(codeIs("fenced"));
    });
    test("renews nothing, releases nothing, and is told so", async () => {
      await create("a", 0);
      await create("b", null);
      const old = await claimOne("w1", 0);
      const held = await claimOne("w2", 100, 200);
      expect(await at.store.renew([old], 900)).toEqual(["a"]);
      expect(await at.store.release(old, null, 0)).toBe(true);
      expect(await at.store.nextWakeMs()).toBe(200);
      expect(await at.store.renew([held, { ...held, agentId: "gone" }], 300)).toEqual(["gone"]);
      expect(await at.store.nextWakeMs()).toBe(300);
    });
  });

  describe("a worker's append", () => {
    test("keeps the lease until a time, or lets go and leaves a wake time", async () => {
      await create("a", 0);
      const { epoch } = await claimOne("w", 0, 100);
      await appendTo(at.store, "a", [said("1")], { epoch, leaseUntilMs: 300, wakeAtMs: 7 });
      expect(await at.store.nextWakeMs()).toBe(300);
      expect(await at.store.row("a", 299)).toMatchObject({ status: "processing" });
      await appendTo(at.store, "a", [said("2")], { epoch, wakeAtMs: 250 });
      expect(await at.store.nextWakeMs()).toBe(250);
      expect(await at.store.row("a", 0)).toMatchObject({ status: "waiting_for_step" });
      await claimOne("w", 250, 400);
      await appendTo(at.store, "a", [spoke("x", 3)], { epoch: epoch + 1 });
      expect(await at.store.nextWakeMs()).toBeNull();
    });
  });

  describe("a command's append", () => {
    test("leaves a held lease and its wake time alone", async () => {
      await create("a", 0);
      const lease = await claimOne("w", 0, 100);
      await appendTo(at.store, "a", [said("x")], { atMs: 99, wakeAtMs: 99 });
      expect(await at.store.nextWakeMs()).toBe(100);
      await appendTo(at.store, "a", [paused()], { atMs: 99, wakeAtMs: null });
      expect(await at.store.nextWakeMs()).toBe(100);
      expect(await at.store.renew([lease], 200)).toEqual([]);
      await appendTo(at.store, "a", [spoke("x", 1)], { epoch: lease.epoch, leaseUntilMs: 300 });
    });
    test("sets the wake time of an agent that nobody holds any more", async () => {
      await create("a", 0);
      const lease = await claimOne("w", 0, 100);
      await appendTo(at.store, "a", [said("x")], { atMs: 100, wakeAtMs: 150 });
      expect(await at.store.nextWakeMs()).toBe(150);
      // The slow worker may still go on: nobody has taken the agent from it.
      expect(await at.store.renew([lease], 300)).toEqual([]);
      expect(await at.store.row("a", 200)).toMatchObject({ status: "processing" });
      // Who comes after a worker that never let go is told of it.
      expect(await claimOne("other", 300)).toMatchObject({
        epoch: 2,
        recovered: true,
        workedMs: 0,
      });
    });
  });

  describe("release", () => {
    test("lets go without an append, unless something came that the worker has not seen", async () => {
      await create("a", 0);
      const lease = await claimOne("w", 0, 100);
      await appendTo(at.store, "a", [said("x")], { atMs: 5, wakeAtMs: 5 });
      expect(await at.store.release(lease, 1, null)).toBe(false);
      expect(await at.store.nextWakeMs()).toBe(100);
      expect(await at.store.release(lease, 2, null)).toBe(true);
      expect(await at.store.nextWakeMs()).toBeNull();
      expect(await at.store.renew([lease], 200)).toEqual(["a"]);
    });
    test("without a head lets go whatever came", async () => {
      await create("a", 0);
      const lease = await claimOne("w", 0, 100);
      await appendTo(at.store, "a", [said("x")], { atMs: 5 });
      expect(await at.store.release(lease, null, 50)).toBe(true);
      expect(await at.store.nextWakeMs()).toBe(50);
    });
    test("twice, or of an agent that is gone, does nothing", async () => {
      await create("a", 0);
      const lease = await claimOne("w", 0, 100);
      await at.store.release(lease, null, 50);
      expect(await at.store.release(lease, null, 10)).toBe(true);
      expect(await at.store.nextWakeMs()).toBe(50);
      await at.store.remove("a", 1, true);
      expect(await at.store.release(lease, 1, 10)).toBe(true);
    });
  });

  test("nextWakeMs is the earliest, none where nobody is to be woken", async () => {
    expect(await at.store.nextWakeMs()).toBeNull();
    await create("a", null);
    expect(await at.store.nextWakeMs()).toBeNull();
    await create("b", 70);
    await create("c", 50);
    expect(await at.store.nextWakeMs()).toBe(50);
    await at.store.remove("c", 1, true);
    expect(await at.store.nextWakeMs()).toBe(70);
  });

  test("followWakes tells of every write that may bring the next wake time nearer, until it is ended", async () => {
    let hints = 0;
    const unfollow = at.store.followWakes(() => hints++);
    const told = async (write: () => Promise<unknown>): Promise<boolean> => {
      const before = hints;
      await write();
      return hints > before;
    };
    expect(await told(() => create("a", 0))).toBe(true);
    const lease = await claimOne("w", 0);
    expect(hints).toBe(2);
    // Else who was told would look again, and claim in vain again, without end.
    const inVain = { worker: "v", untilMs: 900 };
    expect(await told(() => at.store.claim(inVain, 0, 1))).toBe(false);
    expect(await told(() => at.store.release(lease, null, 50))).toBe(true);
    const due = { wakeAtMs: 20 };
    expect(await told(() => appendTo(at.store, "a", [said("hello")], due))).toBe(true);
    unfollow();
    expect(await told(() => create("b", 0))).toBe(false);
  });
});
