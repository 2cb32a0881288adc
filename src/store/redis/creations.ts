import type { RequestKey } from "../../agent/event.ts";
import { EngramError } from "../../errors.ts";
import { redisLimits } from "../../limits.ts";
import type { Base } from "./base.ts";
import type { Heads } from "./heads.ts";
import { writeCreation } from "./creation.ts";
import { scripts } from "./scripts.ts";
import { staging } from "./staging.ts";
import { allAside, otherAside, thereAlready } from "../staging.ts";
import { listOf, textOf, textOrNull } from "./values.ts";
import type { Aside, Creation, Store } from "../store.ts";

/*
 * A request id and its agent are of different shards, so a creation that has one takes two steps, each atomic:
 * 1. The request id is reserved: it stands for an agent id and a digest from then on, whoever comes.
 * 2. The agent is made under that id, unless it is there.
 * A crash in between leaves a reservation without an agent; the repetition finds it and takes the second step, with the
 * same content, as the digest says. Two that take it at once make one agent: the second finds it there.
 * A reservation counts only together with what the agent itself, or its tombstone, says:
 * - the agent is there and names this request: it is the answer;
 * - it is there and names another: the reservation came of a creation that failed, and is replaced;
 * - it is deleted: deleting frees the request id behind it, and if that was cut off the reservation is replaced here.
 *   An agent is never made again under a deleted id by a slow first creation.
 * An agent that moves is made under its own id or not at all, so a request id that is reserved for another stays that's.
 * What stands aside belongs to one id, since its hashes do. So a repetition that has events there cannot take the second
 * step under the id that it finds: where no agent is there, it forestalls that id, as if it were deleted, and the request
 * stands for its own from then on. A first creation that was only slow then finds its id gone.
 */

type Tools = { readonly base: Base; readonly heads: Heads };
type Made = Awaited<ReturnType<Store["create"]>>;

type Creations = Pick<Store, "stage" | "unstage" | "create" | "made" | "aside" | "remove">;

export const creations = (tools: Tools): Creations => ({
  ...staging(tools),
  create: async (given) => {
    const creation = await allAside(staging(tools).stage, given);
    const { agentId, request, moved } = creation;
    if (request !== null)
      return moved === null
        ? createOnce(tools, creation, request)
        : bringIn(tools, creation, request);
    const made = await writeCreation(tools, agentId, creation, false);
    if (made.outcome === "made") return { agentId, created: true, lease: made.lease };
    if (made.outcome === "aside") throw otherAside(agentId, made.head, creation.staged);
    throw thereAlready(agentId);
  },
  made: (request) => madeBy(tools.base, request),
  aside: (agentId) => readAside(tools.base, agentId),
  remove: async (agentId, atMs, force) => {
    const { base } = tools;
    const shard = base.shards.of(agentId);
    const reply = listOf(
      await base.change(agentId, scripts.remove, {
        keys: [
          shard.agent(agentId),
          shard.log(agentId),
          shard.draft(agentId),
          shard.marks(agentId),
          shard.wake,
          shard.index,
          shard.gone,
          shard.channel,
        ],
        args: [agentId, `${atMs}`, force ? "1" : "", ...base.telling(shard)],
      }),
    );
    if (reply[0] === "missing") throw new EngramError("not_found", `no agent ${agentId}`);
    if (reply[0] === "working")
      throw new EngramError(
        "failed_precondition",
        `agent ${agentId} is working; pause or cancel it first, or delete it with force`,
      );
    tools.heads.forget(agentId);
    base.hints.send(agentId);
    const requestId = textOf(reply[1]);
    // A request id that is not freed here is replaced by the creation that next comes with it.
    if (requestId !== "") await freeRequest(base, requestId, agentId).catch(() => undefined);
  },
});

async function createOnce(tools: Tools, creation: Creation, request: RequestKey): Promise<Made> {
  const { base } = tools;
  const { requestId, digest } = request;
  let stale = "";
  for (let tries = 0; tries < redisLimits.reservationsMax; tries++) {
    const found = await reserve(base, creation.agentId, request, stale);
    const [reservedId, reservedDigest] = split(found);
    if (reservedDigest === digest) {
      const made = await finish(tools, creation, request, reservedId);
      if (made !== null) return made;
    } else if (!(await isStale(base, requestId, reservedId))) throw usedFor(requestId, reservedId);
    stale = found;
  }
  throw inUse();
}

/** The agent of a creation that moves, under its own id. */
async function bringIn(tools: Tools, creation: Creation, request: RequestKey): Promise<Made> {
  const { base } = tools;
  const { agentId } = creation;
  const { requestId, digest } = request;
  let stale = "";
  for (let tries = 0; tries < redisLimits.reservationsMax; tries++) {
    const found = await reserve(base, agentId, request, stale);
    const [reservedId, reservedDigest] = split(found);
    if (reservedId === agentId && reservedDigest === digest) {
      const made = await writeCreation(tools, agentId, creation, false);
      if (made.outcome === "made") return { agentId, created: true, lease: made.lease };
      if (made.outcome !== "there" || made.requestId !== requestId)
        await freeRequest(base, requestId, agentId);
      if (made.outcome === "aside") throw otherAside(agentId, made.head, creation.staged);
      throw thereAlready(agentId);
    }
    if (!(await isStale(base, requestId, reservedId)))
      throw reservedId === agentId ? thereAlready(agentId) : usedFor(requestId, reservedId);
    stale = found;
  }
  throw inUse();
}

/** What a request id stands for, once it is reserved: "DIGEST AGENT". What it stood for that is `stale` is replaced. */
async function reserve(
  base: Base,
  agentId: string,
  { requestId, digest }: RequestKey,
  stale: string,
): Promise<string> {
  const shard = base.shards.of(requestId);
  return textOf(
    await base.run(shard, scripts.reserve, {
      keys: [shard.request(requestId)],
      args: [`${digest} ${agentId}`, stale],
    }),
  );
}

async function readAside(base: Base, agentId: string): Promise<Aside> {
  const shard = base.shards.of(agentId);
  const [requestId, worked] = listOf(
    await base.ask(shard, "HMGET", shard.agent(agentId), "request", "worked"),
  ).map(textOrNull);
  if (worked === undefined || worked === null)
    throw new EngramError("not_found", `no agent ${agentId}`);
  const workedMs = Number(worked);
  if (requestId === undefined || requestId === null || requestId === "")
    return { request: null, workedMs };
  const { ask, shards } = base;
  const reserved = textOrNull(
    await ask(shards.of(requestId), "GET", shards.of(requestId).request(requestId)),
  );
  const [reservedId, digest] = split(reserved ?? "");
  return { request: reservedId === agentId ? { requestId, digest } : null, workedMs };
}

const inUse = (): EngramError =>
  new EngramError("unavailable", "the request_id is in use just now; try again", {
    transient: true,
  });

const usedFor = (requestId: string, agentId: string): EngramError =>
  new EngramError(
    "already_exists",
    `request_id ${requestId} was used for agent ${agentId}; give each creation an id of its own`,
  );

/** The second step, under the id that the request stands for; null: the reservation is stale. */
async function finish(
  tools: Tools,
  creation: Creation,
  request: RequestKey,
  reservedId: string,
): Promise<Made | null> {
  const { base } = tools;
  const { requestId } = request;
  const isOwn = reservedId === creation.agentId;
  if (!isOwn && (creation.staged > 0 || creation.headHash !== null))
    return forestall(base, creation, requestId, reservedId);
  const made = await writeCreation(tools, reservedId, creation, true);
  if (made.outcome === "made") return { agentId: reservedId, created: true, lease: made.lease };
  if (made.outcome === "there" && made.requestId === requestId) return known(reservedId);
  if (!isOwn && made.outcome === "aside") return forestall(base, creation, requestId, reservedId);
  if (!isOwn) return null;
  if (made.outcome === "gone") return madeMeanwhile(base, creation, request);
  await freeRequest(base, requestId, reservedId);
  if (made.outcome === "aside") throw otherAside(reservedId, made.head, creation.staged);
  throw thereAlready(reservedId);
}

const known = (agentId: string): Made => ({ agentId, created: false, lease: null });

/** Makes sure that no agent comes to be under an id that a request stands for; where one is there, it is the answer. */
async function forestall(
  base: Base,
  { atMs }: Creation,
  requestId: string,
  reservedId: string,
): Promise<Made | null> {
  const shard = base.shards.of(reservedId);
  const reply = listOf(
    await base.run(shard, scripts.forestall, {
      keys: [
        shard.agent(reservedId),
        shard.gone,
        shard.staged(reservedId),
        shard.stagedLog(reservedId),
        shard.stagedMarks(reservedId),
      ],
      args: [reservedId, `${atMs}`],
    }),
  );
  return reply[0] === "there" && textOf(reply[1]) === requestId ? known(reservedId) : null;
}

/**
 * What became of a creation whose own id is gone: a repetition has made the agent under it, and it was deleted since; or
 * one that came with events aside has forestalled it, and makes the agent under another id.
 */
async function madeMeanwhile(
  base: Base,
  { agentId }: Creation,
  { requestId, digest }: RequestKey,
): Promise<Made> {
  const shard = base.shards.of(requestId);
  const found = textOrNull(await base.ask(shard, "GET", shard.request(requestId)));
  const [otherId, otherDigest] = split(found ?? "");
  if (found === null || otherId === agentId || otherDigest !== digest) return known(agentId);
  const other = base.shards.of(otherId);
  if ((await base.ask(other, "HGET", other.agent(otherId), "request")) === requestId)
    return known(otherId);
  throw inUse();
}

/** The agent that a request has made and that is there; null: none with this digest. */
async function madeBy(base: Base, { requestId, digest }: RequestKey): Promise<string | null> {
  const shard = base.shards.of(requestId);
  const found = textOrNull(await base.ask(shard, "GET", shard.request(requestId)));
  if (found === null) return null;
  const [agentId, foundDigest] = split(found);
  if (foundDigest !== digest) return null;
  const its = base.shards.of(agentId);
  const by = textOrNull(await base.ask(its, "HGET", its.agent(agentId), "request"));
  return by === requestId ? agentId : null;
}

/** Whether a reservation stands for no agent any more. One that is on its way counts. */
async function isStale(base: Base, requestId: string, reservedId: string): Promise<boolean> {
  const shard = base.shards.of(reservedId);
  const [by, gone] = await Promise.all([
    base.glance(shard, "HGET", shard.agent(reservedId), "request"),
    base.glance(shard, "HEXISTS", shard.gone, reservedId),
  ]);
  return by === null ? gone === 1 : by !== requestId;
}

/** Lets a request id be used anew, where it stands for this agent. */
async function freeRequest(base: Base, requestId: string, agentId: string): Promise<void> {
  const shard = base.shards.of(requestId);
  await base.run(shard, scripts.free, { keys: [shard.request(requestId)], args: [agentId] });
}

/** "DIGEST AGENT" */
function split(reservation: string): readonly [agentId: string, digest: string] {
  const space = reservation.indexOf(" ");
  return [reservation.slice(space + 1), reservation.slice(0, space)];
}
