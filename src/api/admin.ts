import { create } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import type { Engine } from "../engine/engine.ts";
import { type Bytes, piecesOf, slicesOf } from "../engine/file-bytes.ts";
import {
  AdminService,
  ExportAgentResponseSchema,
  type ExportAgentResponse,
  type ImportAgentRequest,
  ImportAgentResponseSchema,
  PromptInfoSchema,
  type ReadPromptRequest,
  type ReadPromptResponse,
  ReadPromptResponseSchema,
} from "../gen/engram/admin/v1/admin_pb.ts";
import { answered, mustName, streamed } from "./answers.ts";
import { sequenceOf } from "./spec.ts";

/** Adds the service for operators. */
export const adminRoutes =
  (engine: Engine) =>
  (router: ConnectRouter): void => {
    router.service(AdminService, {
      exportAgent: ({ agentId }) =>
        streamed(messagesOf(engine.exportAgent(agentId)), () => mustName(agentId)),
      importAgent: (requests) =>
        answered(async () => {
          const { agentId, sequence } = await engine.importAgent(dataOf(requests));
          return create(ImportAgentResponseSchema, { agentId, headSequence: BigInt(sequence) });
        }),
      readPrompt: (request) => streamed(promptOf(engine, request), () => mustName(request.agentId)),
    });
  };

async function* messagesOf(pieces: AsyncIterable<Bytes>): AsyncGenerator<ExportAgentResponse> {
  for await (const data of pieces) yield create(ExportAgentResponseSchema, { data });
}

async function* dataOf(requests: AsyncIterable<ImportAgentRequest>): AsyncGenerator<Uint8Array> {
  for await (const { data } of requests) yield data;
}

async function* promptOf(
  engine: Engine,
  { agentId, number }: ReadPromptRequest,
): AsyncGenerator<ReadPromptResponse> {
  const asked = sequenceOf("number", number);
  const { place, body } = await engine.sentPrompt(agentId, asked === 0 ? null : asked);
  const { sending } = place;
  const info = create(PromptInfoSchema, {
    number: BigInt(place.number),
    total: BigInt(place.total),
    headSequence: BigInt(sending.headSequence),
    outcomeSequence: BigInt(sending.outcomeSequence ?? 0),
    continuedLength: BigInt(sending.continuedLength),
    condenses: sending.call.condensedItems !== undefined,
  });
  yield create(ReadPromptResponseSchema, { info });
  for await (const data of piecesOf(slicesOf(body)))
    yield create(ReadPromptResponseSchema, { data });
}
