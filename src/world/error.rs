//! [`AccessError`]: why a task did not get what it asked the World for.
#![forbid(unsafe_code)]

use std::{any::type_name, borrow::Cow, fmt};

use bevy_ecs::{
    entity::Entity, message::Message, resource::Resource, system::SystemParamValidationError,
};

use super::ctx::WorldError;

/// Why a task did not get what it asked the World for. It names the type and the entity, and converts
/// into bevy's `BevyError` with `?`.
///
/// ```
/// use bevy_ecs::{error::BevyError, prelude::*};
/// use onbeat::{AccessError, Runtime, WorldCtx};
///
/// #[derive(Resource, Clone, Copy)]
/// struct Limit(u32);
///
/// async fn within_limit(orders: u32) -> Result<bool, BevyError> {
///     Ok(orders <= WorldCtx::current().get::<Limit>()?.0)
/// }
///
/// let mut world = World::new();
/// Runtime::new(&mut world).block_on(async {
///     let error = within_limit(3).await.unwrap_err();
///     assert!(error.to_string().contains("Limit"));
///     let missing = WorldCtx::current().get::<Limit>().err();
///     assert!(matches!(missing, Some(AccessError::ResourceMissing { .. })));
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AccessError {
    /// The World cannot be used here and now.
    World(WorldError),
    /// The World has no such entity.
    EntityGone(Entity),
    /// The entity lacks the component.
    ComponentMissing {
        /// Who lacks it.
        entity: Entity,
        /// The name of the component's type.
        component: &'static str,
    },
    /// The World lacks the resource.
    ResourceMissing {
        /// The name of the resource's type.
        resource: &'static str,
    },
    /// Nobody has registered the type of message.
    MessageUnregistered {
        /// The name of the message's type.
        message: &'static str,
    },
    /// One of the system parameters cannot be had.
    ParamsInvalid {
        /// The name of the parameters' type.
        params: &'static str,
        /// Why, as bevy says it.
        reason: &'static str,
    },
}

impl AccessError {
    pub(super) fn component_missing<C>(entity: Entity) -> Self {
        Self::ComponentMissing { entity, component: type_name::<C>() }
    }

    pub(super) fn resource_missing<R: Resource>() -> Self {
        Self::ResourceMissing { resource: type_name::<R>() }
    }

    pub(super) fn message_unregistered<M: Message>() -> Self {
        Self::MessageUnregistered { message: type_name::<M>() }
    }

    #[cold]
    pub(super) fn params_invalid<P>(error: &SystemParamValidationError) -> Self {
        let reason = match &error.message {
            Cow::Borrowed(message) => message,
            Cow::Owned(_) => "a parameter failed its validation",
        };
        Self::ParamsInvalid { params: type_name::<P>(), reason }
    }
}

impl From<WorldError> for AccessError {
    fn from(error: WorldError) -> Self {
        Self::World(error)
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World(error) => error.fmt(f),
            Self::EntityGone(entity) => write!(
                f,
                "the World has no entity {entity}: it has been despawned, or is of another World"
            ),
            Self::ComponentMissing { entity, component } => write!(
                f,
                "the entity {entity} has no component {component}: insert it first, or ask with \
                 `contains`"
            ),
            Self::ResourceMissing { resource } => {
                write!(f, "the World has no resource {resource}: insert it first")
            }
            Self::MessageUnregistered { message } => write!(
                f,
                "nobody has registered the message {message}: register it with \
                 `MessageRegistry::register_message` or `App::add_message`, or await it with \
                 `WorldCtx::messages`, which registers it"
            ),
            Self::ParamsInvalid { params, reason } => write!(
                f,
                "of the system parameters {params} one cannot be had: {reason}; take an `Option` of \
                 what may be missing"
            ),
        }
    }
}

impl std::error::Error for AccessError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::World(error) => Some(error),
            _ => None,
        }
    }
}
