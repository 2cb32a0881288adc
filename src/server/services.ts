import type { ConnectRouter } from "@connectrpc/connect";
import { Health } from "../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { type HealthService, makeHealth } from "./health.ts";
import { makeReflection } from "./reflection.ts";
import { makeRpc, type Rpc, type RpcOptions } from "./rpc.ts";

type ServicesOptions = RpcOptions & Pick<Parameters<typeof makeHealth>[0], "ready" | "clock">;

/** The services that `routes` adds, and those that every gRPC server has: health and reflection. */
export function makeServices(options: ServicesOptions): {
  readonly rpc: Rpc;
  readonly health: HealthService;
} {
  // Known once all have been added, these among them.
  const services = () => rpc.services.map(({ service }) => service);
  const health = makeHealth({
    ...options,
    services: () => services().map(({ typeName }) => typeName),
  });
  const rpc = makeRpc({
    ...options,
    routes: (router: ConnectRouter) => {
      options.routes(router);
      const reflection = makeReflection(services);
      router.service(Health, health.implementation);
      router.service(ServerReflection, reflection);
      router.service(ServerReflectionAlpha, reflection);
    },
  });
  return { rpc, health };
}
