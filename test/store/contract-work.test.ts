import { describe, expect, test } from "bun:test";
import type { Lease } from "../../src/store/store.ts";
import { callAfter, paused, said } from "../support/events.ts";
import { claiming, codeIs, contract } from "../support/store-contract.ts";
import { appendTo } from "../support/stores.ts";

contract("the work and the time of a store", (at) => {
  const { create, claim, claimOne } = claiming(at);

  describe("the work told", () => {
    const worked = (lease: Lease, workedMs: number): Lease => ({ ...lease, workedMs });
    const call = callAfter(1);

    test("by a renewal comes with the next lease", async () => {
      await create("a", 0);
      const lease = await claimOne("w", 0, 100);
      await at.store.renew([worked(lease, 70)], 200);
      expect(await claimOne("w", 200)).toMatchObject({ workedMs: 70, recovered: true });
    });
    test("by a draft comes with the next lease", async () => {
      await create("a", 0);
      const lease = await claimOne("w", 0, 100);
      await at.store.writeDraft(worked(lease, 40), call, []);
      expect(await claimOne("w", 100)).toMatchObject({ workedMs: 40 });
    });
    test("by a release comes with the next lease", async () => {
      await create("a", 0);
      await at.store.release(worked(await claimOne("w", 0), 30), null, 50);
      expect(await claimOne("w", 50)).toMatchObject({ workedMs: 30, recovered: false });
      const other = await claimOne("w", 150);
      await at.store.release(worked(other, 35), 1, 200);
      expect(await claimOne("w", 200)).toMatchObject({ workedMs: 35 });
    });
    test("last is what counts, and a lease alone changes nothing of it", async () => {
      await create("a", 0);
      const lease = await claimOne("w", 0, 100);
      await at.store.renew([worked(lease, 70)], 100);
      await at.store.writeDraft(worked(lease, 80), call, []);
      await at.store.renew([worked(lease, 90)], 100);
      expect(await claimOne("w", 100, 200)).toMatchObject({ workedMs: 90 });
      expect(await claimOne("w", 200, 300)).toMatchObject({ workedMs: 90, claims: 2 });
    });
    test("comes with a lease that was wished for too", async () => {
      await create("a", 0);
      await at.store.release(worked(await claimOne("w", 0), 30), null, null);
      const wish = { worker: "w", untilMs: 500 };
      const due = { atMs: 10, wakeAtMs: 10, wish };
      expect(await appendTo(at.store, "a", [said("x")], due)).toMatchObject({ workedMs: 30 });
    });
    test("is over with a worker's append, be the lease kept or not", async () => {
      await create("a", 0);
      const lease = await claimOne("w", 0, 100);
      await at.store.renew([worked(lease, 70)], 100);
      await appendTo(at.store, "a", [said("x")], { epoch: 1, leaseUntilMs: 100 });
      const second = await claimOne("w", 100, 200);
      expect(second).toMatchObject({ workedMs: 0 });
      await at.store.renew([worked(second, 20)], 200);
      await appendTo(at.store, "a", [said("x")], { epoch: 2, wakeAtMs: 200 });
      expect(await claimOne("w", 200)).toMatchObject({ workedMs: 0 });
    });
    test("is not over with a command's append, nor with a draft that this drops", async () => {
      await create("a", 0);
      const lease = await claimOne("w", 0, 100);
      await at.store.writeDraft(worked(lease, 40), call, []);
      await appendTo(at.store, "a", [said("x")], { atMs: 5, dropDraft: true });
      expect(await claimOne("w", 100)).toMatchObject({ workedMs: 40 });
    });
    test("by a worker that was replaced, or whose write is refused, changes nothing", async () => {
      await create("a", 0);
      const old = await claimOne("w1", 0, 100);
      await at.store.renew([worked(old, 10)], 100);
      const held = await claimOne("w2", 100, 200);
      expect(await at.store.renew([worked(old, 900)], 950)).toEqual(["a"]);
      await at.store.release(worked(old, 900), null, 0);
      await expect(at.store.writeDraft(worked(old, 900), call, [])).rejects.toEqual(
        codeIs("fenced"),
      );
      await appendTo(at.store, "a", [paused()], { atMs: 150 });
      await expect(at.store.writeDraft(worked(held, 900), call, [])).rejects.toEqual(
        codeIs("conflict"),
      );
      expect(await at.store.release(worked(held, 900), 1, 0)).toBe(false);
      expect(await claimOne("w3", 200)).toMatchObject({ workedMs: 10, epoch: 3 });
    });
    test("belongs to its agent, and survives a restart", async () => {
      await create("a", 0);
      await create("b", 0);
      const [a, b] = await claim("w", 0);
      await at.store.renew([worked(a!, 11), worked(b!, 22)], 100);
      await at.reopen();
      const leases = await claim("w", 100);
      const told = new Map(leases.map(({ agentId, workedMs }) => [agentId, workedMs]));
      expect(told.get(a!.agentId)).toBe(11);
      expect(told.get(b!.agentId)).toBe(22);
    });
  });

  describe("the store's time", () => {
    test("goes on evenly, whatever becomes of the wall clock", async () => {
      await at.store.probe();
      const startMs = at.store.nowMs();
      // Where engines share a store, its time is that of its server.
      if (!at.backend.startsWith("redis")) expect(startMs).toBe(at.clock.nowMs());
      const passed: number[] = [];
      for (const jumpMs of [86_400_000, -2 * 86_400_000, 1, -1, 86_400_000]) {
        at.clock.advance(1_000);
        at.clock.jump(jumpMs);
        passed.push(at.store.nowMs() - startMs);
      }
      expect(passed).toEqual([1_000, 2_000, 3_000, 4_000, 5_000]);
    });
    test("is whole ms, however fine the clock", () => {
      at.clock.advance(0.4);
      expect(Number.isInteger(at.store.nowMs())).toBe(true);
    });
    test("is not what events carry, but what leases and rows go by", async () => {
      await create("a", 50);
      const later = {
        atMs: 86_400_000,
        nowMs: 60,
        wakeAtMs: 60,
        wish: { worker: "w", untilMs: 100 },
      };
      expect(await appendTo(at.store, "a", [said("x")], later)).toMatchObject({ epoch: 1 });
      expect((await at.store.row("a", 99))?.status).toBe("processing");
      expect((await at.store.row("a", 99))?.updatedAtMs).toBe(86_400_000);
      const earlier = {
        atMs: -86_400_000,
        nowMs: 101,
        wakeAtMs: 101,
        wish: { worker: "v", untilMs: 200 },
      };
      expect(await appendTo(at.store, "a", [said("y")], earlier)).toMatchObject({ epoch: 2 });
    });
  });
});
