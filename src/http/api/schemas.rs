//! The OpenAPI schemas of enums that the API takes from the model. Their JSON form is the name.

use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::metadata::{AccountKind, AuditAction, AuditOutcome, EventKind, Role};

macro_rules! name_schemas {
    ($($kind:ty, $description:literal, $names:expr;)*) => {$(
        impl PartialSchema for $kind {
            fn schema() -> RefOr<Schema> {
                let schema = ObjectBuilder::new().schema_type(Type::String).description(Some($description));
                schema.enum_values(Some($names)).into()
            }
        }

        impl ToSchema for $kind {}
    )*};
}

name_schemas! {
    AccountKind, "What an account is for.", ["bootstrap", "person", "robot"];
    AuditAction, "An action that was performed or attempted.", AuditAction::all().map(AuditAction::name);
    AuditOutcome, "The outcome of an action.", AuditOutcome::ALL.map(AuditOutcome::name);
    EventKind, "The kind of an event.", EventKind::all().map(EventKind::name);
    Role, "What a grantee may do with repositories. Each role includes the ones before it.",
        Role::ALL.map(Role::name);
}
