import { create } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import type { Engine } from "../engine/engine.ts";
import type { Bytes } from "../engine/file-bytes.ts";
import {
  AdminService,
  ExportAgentResponseSchema,
  type ExportAgentResponse,
  type ImportAgentRequest,
  ImportAgentResponseSchema,
} from "../gen/engram/admin/v1/admin_pb.ts";
import { answered, mustName, streamed } from "./answers.ts";

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
    });
  };

async function* messagesOf(pieces: AsyncIterable<Bytes>): AsyncGenerator<ExportAgentResponse> {
  for await (const data of pieces) yield create(ExportAgentResponseSchema, { data });
}

async function* dataOf(requests: AsyncIterable<ImportAgentRequest>): AsyncGenerator<Uint8Array> {
  for await (const { data } of requests) yield data;
}
