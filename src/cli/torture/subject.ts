import type { ClientMessage, ServerMessage } from "../../gen/engram/api/v1/agent_pb.ts";
import type { Sent } from "./check.ts";
import {
  type Heard,
  lineOf,
  type Manner,
  makeWitness,
  type Violation,
  type Witness,
} from "./witness.ts";
import { tortureLimits } from "./torture-limits.ts";

/** A message to be recorded. */
export type Outgoing = {
  readonly messageId: string;
  readonly payload: ClientMessage["payload"];
  readonly sent: Sent & { ackedAt: number | null };
  /** Whether what was heard so far makes it time for it. */
  isDue(subject: Subject): boolean;
  /** Is sent without waiting for the acknowledgement of the one before. */
  readonly isHasty: boolean;
};

/** One agent, and all that its client knows of it. */
export type Subject = {
  readonly agentId: string;
  readonly model: string;
  readonly manner: Manner;
  readonly witness: Witness;
  readonly sent: (Sent & { ackedAt: number | null })[];
  /** Tools whose calls wait for this client's decision. */
  readonly confirmed: readonly string[];
  /** How many answers, or ends of a turn without one, were heard. */
  answers(): number;
  attach(after: number, where: string): void;
  hear(message: ServerMessage): Heard;
  /** A line for the trace that explains a violation. */
  note(line: string): void;
  report(rule: string, detail: string): void;
};

/** What is told of a violation. */
export type Found = Violation & { readonly agentId: string; readonly trace: readonly string[] };

export type SubjectParts = Pick<Subject, "agentId" | "model" | "manner" | "confirmed"> & {
  readonly onViolation: (found: Found) => void;
};

/** An agent of which nothing was heard yet. */
export function makeSubject({
  agentId,
  model,
  confirmed,
  manner,
  onViolation,
}: SubjectParts): Subject {
  const witness = makeWitness(manner);
  const trace: string[] = [];
  let answers = 0;
  let told = 0;

  /** Pieces that follow each other are one line. */
  let pieces: { kind: string; from: bigint; to: bigint } | null = null;

  const note = (line: string): void => {
    pieces = null;
    trace.push(`${new Date().toISOString().slice(11, -1)} ${line}`);
    if (trace.length > tortureLimits.traceLines) trace.shift();
  };
  const noteMessage = (message: ServerMessage): void => {
    const { payload } = message;
    if (payload.case !== "textDelta" && payload.case !== "thoughtDelta")
      return note(lineOf(message));
    const { offset, content } = payload.value;
    const goesOn = pieces?.kind === payload.case && pieces.to === offset;
    const from = goesOn && pieces !== null ? pieces.from : offset;
    if (goesOn) trace.pop();
    const to = offset + BigInt(Buffer.byteLength(content));
    note(`${lineOf(message)}: bytes ${from} to ${to}`);
    pieces = { kind: payload.case, from, to };
  };
  const report = (rule: string, detail: string): void =>
    onViolation({ rule, detail, agentId, trace: [...trace] });
  return {
    agentId,
    model,
    manner,
    confirmed,
    witness,
    sent: [],
    answers: () => answers,
    attach: (after, where) => {
      note(`${where}: attaches behind #${after}`);
      witness.attach(after);
    },
    hear: (message) => {
      noteMessage(message);
      const { case: kind } = message.payload;
      const heard = witness.hear(message);
      if (heard.isNews && (kind === "text" || kind === "finalAnswer" || kind === "error"))
        answers++;
      for (; told < witness.violations.length; told++) {
        const violation = witness.violations[told];
        if (violation !== undefined) report(violation.rule, violation.detail);
      }
      return heard;
    },
    note,
    report,
  };
}
