import { moduleLimits } from "../../limits.ts";
import type { Body } from "./body.ts";
import type { ModuleShape } from "./shape.ts";

/** More ways back than this are checked at the loop's head: a check at each would bloat interpreters' dispatch loops. */
const backEdgesMax = 2;

/** A chain of calls longer than this costs more than a leaf may. */
const leafChainMax = moduleLimits.leafCostMax / 2;

/** By function index: the fuel that its callers pay for it, or 0 where it charges itself. */
export type LeafCosts = Int32Array;

/**
 * Functions whose cost is small and bounded need no counter of their own: without loops, exceptions, bulk operations
 * and calls through tables, calling only their like, and called by nothing but direct calls. Callers pay the cost of
 * the whole body (invariant 7).
 */
const findLeaves = (shape: ModuleShape, bodies: readonly Body[]): LeafCosts => {
  const costs = new Int32Array(shape.functionTypes.length);
  const seen = new Uint8Array(shape.functionTypes.length);
  const visit = (index: number, chain: number): number => {
    const body = bodies[index - shape.importedCount];
    if (index < shape.importedCount || body === undefined) return Infinity;
    if (seen[index] === 1) return costs[index] || Infinity;
    seen[index] = 1;
    const chargesItself =
      shape.reachable[index] === 1 ||
      body.hasLoop ||
      body.hasExceptions ||
      body.hasBulk ||
      body.callsUnknown ||
      chain > leafChainMax;
    let cost = chargesItself ? Infinity : body.totalCost;
    for (const { kind, detail } of body.points) {
      if (cost > moduleLimits.leafCostMax) return Infinity;
      if (kind === "call") cost += visit(detail, chain + 1);
    }
    if (cost > moduleLimits.leafCostMax) return Infinity;
    costs[index] = cost;
    return cost;
  };
  for (const body of bodies) visit(body.index, 0);
  return costs;
};

const payForLeaves = (body: Body, leaves: LeafCosts): void => {
  for (const { kind, detail, of } of body.points) {
    if (kind === "call" && of !== null) of.cost += leaves[detail] ?? 0;
  }
};

/**
 * Settles where each loop is charged. One that is charged on its way back has its first round paid by the segment
 * before it. Inner loops come after outer ones in `points`, so going backwards carries their cost all the way out.
 */
const settleLoops = (body: Body): void => {
  for (let i = body.points.length - 1; i >= 0; i--) {
    const point = body.points[i];
    if (point?.kind !== "loop") continue;
    if (point.backEdges > backEdgesMax) point.atHead = true;
    else if (!point.atHead && point.of !== null) point.of.cost += point.cost;
  }
};

/** Completes the costs of all points. */
export const plan = (shape: ModuleShape, bodies: readonly Body[]): LeafCosts => {
  const leaves = findLeaves(shape, bodies);
  for (const body of bodies) {
    payForLeaves(body, leaves);
    settleLoops(body);
  }
  return leaves;
};
