import type { Clock } from "../clock.ts";
import { EngramError } from "../errors.ts";
import type { Model, ModelPiece } from "../llm/model.ts";
import type { Instruments } from "./instruments.ts";

/** A model whose calls are counted: how they ended, how long they took, and what they cost. */
export function meterModel(model: Model, instruments: Instruments, clock: Clock): Model {
  const { modelCallSeconds, modelFirstTokenSeconds, modelTokens } = instruments;
  return {
    async *call(request, signal): AsyncGenerator<ModelPiece> {
      const startMs = clock.monotonicMs();
      const passedSeconds = (): number => (clock.monotonicMs() - startMs) / 1000;
      let pieces = 0;
      let outcome = "stopped";
      try {
        for await (const piece of model.call(request, signal)) {
          if (pieces++ === 0) modelFirstTokenSeconds.observe(passedSeconds());
          if (piece.kind === "done") {
            outcome = "ok";
            modelTokens.inc({ kind: "prompt" }, piece.usage.promptTokens);
            modelTokens.inc({ kind: "completion" }, piece.usage.completionTokens);
          }
          yield piece;
        }
        if (outcome !== "ok") outcome = "model_error"; // It ended before it was whole.
      } catch (error) {
        if (!signal.aborted) outcome = EngramError.of(error).code;
        throw error;
      } finally {
        modelCallSeconds.observe({ outcome }, passedSeconds());
      }
    },
    continuesPartial: (name, thinking, signal) => model.continuesPartial(name, thinking, signal),
    abilities: (name, signal) => model.abilities(name, signal),
    bodyOf: (request) => model.bodyOf(request),
  };
}
