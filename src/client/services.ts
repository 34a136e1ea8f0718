import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { AuditService } from "#gen/patchbay/audit/v1/audit_service_pb.js";
import { CatalogService } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { DirectoryService } from "#gen/patchbay/directory/v1/directory_service_pb.js";
import { ChannelService } from "#gen/patchbay/events/v1/channel_service_pb.js";
import { EventGroupService } from "#gen/patchbay/events/v1/event_group_service_pb.js";
import { EventService } from "#gen/patchbay/events/v1/event_service_pb.js";
import { IntegrationService } from "#gen/patchbay/integrations/v1/integration_service_pb.js";
import { VerificationService } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import { WebhookService } from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";

/**
 * Every service of Patchbay, by the name that its clients have. The server serves what stands here and refuses to
 * start if a method is missing; the clients and the tests that run over all methods take it from here, too.
 */
export const services = {
  connections: ConnectionService,
  catalog: CatalogService,
  apiKeys: ApiKeyService,
  verification: VerificationService,
  directory: DirectoryService,
  integrations: IntegrationService,
  audit: AuditService,
  channels: ChannelService,
  events: EventService,
  eventGroups: EventGroupService,
  webhooks: WebhookService,
} as const;
