import { Server, ServerCredentials } from "@grpc/grpc-js";
import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { VerificationService } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import { grpcServiceDefinition } from "#src/client/grpc-js.ts";
import { verifyKeyAnswer, whoAmIAnswer } from "../wire-answers.ts";
import { tellParent } from "./measured.ts";

type Reply = (error: null, answer: unknown) => void;

const { whoAmI } = grpcServiceDefinition(ApiKeyService);
const { verifyKey } = grpcServiceDefinition(VerificationService);
const server = new Server();
server.addService(
  { whoAmI, verifyKey },
  {
    whoAmI: (_: unknown, reply: Reply) => reply(null, whoAmIAnswer),
    verifyKey: (_: unknown, reply: Reply) => reply(null, verifyKeyAnswer),
  },
);
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  tellParent(port);
});
