/**
 * What a point puts into the code before the byte at `at`:
 * - `segment`: the charge of the code that runs if and only if this place is passed
 * - `entry`: the function's first segment; its charge is always checked
 * - `loop`: the segment at a loop's head, see `atHead`
 * - `call`, `returned`: around a call of a function that charges itself
 * - `leave`: control may leave the function here
 * - `backEdge`, `backEdgeIf`: a `br` or `br_if` (at..end) back to the head of the loop `of`
 * - `bulk`: an operation (at..end) whose length is on top of the stack
 * - `grow`: a memory.grow (at..end)
 */
export type PointKind =
  | "segment"
  | "entry"
  | "loop"
  | "call"
  | "returned"
  | "leave"
  | "backEdge"
  | "backEdgeIf"
  | "bulk"
  | "grow";

/** One shape for all kinds, so that the engine's inline caches stay monomorphic over hundreds of thousands of them. */
export type Point = {
  readonly kind: PointKind;
  readonly at: number;
  readonly end: number;
  /** Fuel that the point charges. */
  cost: number;
  /** loop: the segment before it. backEdge, backEdgeIf: the loop. call, returned: the segment of the call. */
  readonly of: Point | null;
  /** call, returned: the function's index, -1 where it is not known. bulk: the index of its rate. */
  readonly detail: number;
  /** loop: how many branches go back to its head. */
  backEdges: number;
  /** loop: charged and checked at its head, in every round; else the first round is paid before it, others on the way back. */
  atHead: boolean;
};

export const point = (kind: PointKind, at: number, of: Point | null): Point => ({
  kind,
  at,
  end: at,
  cost: 0,
  of,
  detail: -1,
  backEdges: 0,
  atHead: false,
});

/** A point that stands for the whole instruction at..end. */
export const pointOver = (
  kind: PointKind,
  range: { readonly at: number; readonly end: number },
  of: Point | null,
  detail: number,
): Point => ({
  kind,
  at: range.at,
  end: range.end,
  cost: 0,
  of,
  detail,
  backEdges: 0,
  atHead: false,
});
