export * from "#gen/patchbay/apikeys/v1/api_key_pb.js";
export * from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
export * from "#gen/patchbay/audit/v1/audit_event_pb.js";
export * from "#gen/patchbay/audit/v1/audit_service_pb.js";
export * from "#gen/patchbay/catalog/v1/catalog_pb.js";
export * from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
export * from "#gen/patchbay/connections/v1/connection_pb.js";
export * from "#gen/patchbay/connections/v1/connection_service_pb.js";
