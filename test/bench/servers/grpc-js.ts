import { Server, ServerCredentials } from "@grpc/grpc-js";
import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { grpcServiceDefinition } from "#src/client/grpc-js.ts";
import { whoAmIAnswer } from "../who-am-i-answer.ts";
import { tellParent } from "./measured.ts";

const { whoAmI } = grpcServiceDefinition(ApiKeyService);
const server = new Server();
server.addService(
  { whoAmI },
  { whoAmI: (_: unknown, callback: (error: null, answer: unknown) => void) => callback(null, whoAmIAnswer) },
);
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  tellParent(port);
});
