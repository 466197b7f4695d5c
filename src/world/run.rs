//! [`WorldCtx::run`]: a closure over system parameters, run at once.
#![forbid(unsafe_code)]

use bevy_ecs::{
    system::{SystemParam, SystemParamItem},
    world::{World, WorldId},
};

use super::{cached::Cached, ctx::WorldCtx, error::AccessError, lend};
use crate::{context, executor::key::TaskIdentity};

/// A closure over system parameters, for [`WorldCtx::run`]. Closures and functions with up to 12
/// parameters are.
///
/// `Marker` tells apart what the closure's type alone does not; it is always inferred.
///
/// ```
/// use bevy_ecs::prelude::*;
/// use onbeat::{AccessError, ParamClosure, WorldCtx};
///
/// /// Runs `f`, and says so when the parameters cannot be had.
/// fn run_or_else<M, F: ParamClosure<M>>(
///     f: F,
///     refused: impl FnOnce(AccessError) -> F::Output,
/// ) -> F::Output {
///     WorldCtx::current().run(f).unwrap_or_else(refused)
/// }
///
/// let mut world = World::new();
/// onbeat::Runtime::new(&mut world).block_on(async {
///     let entities = run_or_else(|query: Query<Entity>| query.iter().count(), |_| 0);
///     assert!(entities > 0);
/// });
/// ```
pub trait ParamClosure<Marker> {
    /// The parameters, as a tuple.
    type Params: SystemParam + 'static;
    /// What the closure returns.
    type Output;

    /// Calls the closure.
    fn call(self, params: SystemParamItem<'_, '_, Self::Params>) -> Self::Output;
}

macro_rules! impl_param_closure {
    ($($param:ident),*) => {
        impl<Func, Out, $($param: SystemParam + 'static),*> ParamClosure<fn($($param),*) -> Out> for Func
        where
            Func: FnOnce($($param),*) -> Out + FnOnce($(SystemParamItem<$param>),*) -> Out,
        {
            type Params = ($($param,)*);
            type Output = Out;

            #[inline]
            #[allow(non_snake_case, reason = "parameters are named as their types")]
            fn call(self, ($($param,)*): SystemParamItem<'_, '_, Self::Params>) -> Out {
                // The compiler does not choose between the two bounds on `Func` by itself.
                #[allow(clippy::too_many_arguments, reason = "there are as many as the closure has")]
                fn inner<Out, $($param),*>(f: impl FnOnce($($param),*) -> Out, $($param: $param),*) -> Out {
                    f($($param),*)
                }
                inner(self, $($param),*)
            }
        }
    };
}

impl_param_closure!();
impl_param_closure!(P0);
impl_param_closure!(P0, P1);
impl_param_closure!(P0, P1, P2);
impl_param_closure!(P0, P1, P2, P3);
impl_param_closure!(P0, P1, P2, P3, P4);
impl_param_closure!(P0, P1, P2, P3, P4, P5);
impl_param_closure!(P0, P1, P2, P3, P4, P5, P6);
impl_param_closure!(P0, P1, P2, P3, P4, P5, P6, P7);
impl_param_closure!(P0, P1, P2, P3, P4, P5, P6, P7, P8);
impl_param_closure!(P0, P1, P2, P3, P4, P5, P6, P7, P8, P9);
impl_param_closure!(P0, P1, P2, P3, P4, P5, P6, P7, P8, P9, P10);
impl_param_closure!(P0, P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, P11);

impl WorldCtx {
    /// Runs a closure over system parameters, at once. It may borrow whatever the task has.
    ///
    /// - The state of the parameters is kept for each task and type of parameters, and never shared
    ///   between tasks: a `Query` with `Changed` sees each change once a task, a `Local` is the task's own. Two
    ///   closures of one task with the same parameters share it, also those of two children of a
    ///   [`scope`](crate::scope()) or a [`race`](crate::race()); [`params`](Self::params) is for who wants its
    ///   own. It is dropped where the World may be used, soon after the task has ended. The root future is a
    ///   task like any other.
    /// - Where no task is being polled, in the destructor of an aborted task for example, the state is made
    ///   for the one call.
    /// - Commands are applied when the closure returns. When it panics they are lost, and the state
    ///   begins anew.
    ///
    /// # Errors
    ///
    /// [`AccessError::ParamsInvalid`] when a resource that the parameters name is missing, and the like;
    /// [`AccessError::World`]. The closure is not called then.
    ///
    /// # Panics
    ///
    /// When the parameters conflict with one another, as they would in a system.
    ///
    /// ```
    /// use bevy_ecs::prelude::*;
    /// use onbeat::{Runtime, WorldCtx};
    ///
    /// #[derive(Resource, Default)]
    /// struct Total(u32);
    /// #[derive(Component)]
    /// struct Filled(u32);
    ///
    /// let mut world = World::new();
    /// world.init_resource::<Total>();
    /// world.spawn(Filled(3));
    /// let mut rt = Runtime::new(&mut world);
    /// rt.block_on(async {
    ///     let ctx = WorldCtx::current();
    ///     let fee = 1;
    ///     for _ in 0..2 {
    ///         // The second time nothing has changed.
    ///         ctx.run(|filled: Query<&Filled, Changed<Filled>>, mut total: ResMut<Total>| {
    ///             total.0 += filled.iter().map(|filled| filled.0 + fee).sum::<u32>();
    ///         })?;
    ///     }
    ///     Ok::<_, onbeat::AccessError>(())
    /// })?;
    /// assert_eq!(rt.world().resource::<Total>().0, 4);
    /// # Ok::<_, onbeat::AccessError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn run<M, F: ParamClosure<M>>(&self, f: F) -> Result<F::Output, AccessError> {
        // Outlives the access: a state that nobody keeps is dropped where the World may be used.
        let mut unkept = None;
        lend::with(self.id(), |world| {
            let mut loan = Loan::<F::Params>::take(world.id());
            let result = loan.cached(world).call(world, |params| f.call(params));
            unkept = loan.end();
            result
        })?
    }
}

/// A state on loan from the running task, or made for one call.
struct Loan<P: SystemParam + 'static> {
    cached: Option<Box<Cached<P>>>,
    task: Option<TaskIdentity>,
}

impl<P: SystemParam + 'static> Loan<P> {
    fn take(world: WorldId) -> Self {
        context::try_current(|core| {
            let executor = &core.executor;
            let task = executor.running_task();
            let mut cached = task.and_then(|task| executor.take_kept::<Cached<P>>(task));
            if let Some(other) = cached.take_if(|cached| !cached.is_good_for(world)) {
                executor.leave(other);
            }
            Self { cached, task }
        })
        .unwrap_or(Self { cached: None, task: None })
    }

    fn cached(&mut self, world: &mut World) -> &mut Cached<P> {
        self.cached.get_or_insert_with(|| Box::new(Cached::new(world)))
    }

    /// Gives the state back to its task. Without one it is returned.
    fn end(mut self) -> Option<Box<Cached<P>>> {
        if self.task.is_some() { None } else { self.cached.take() }
    }
}

impl<P: SystemParam + 'static> Drop for Loan<P> {
    /// Also when the closure panics: no destructor of the state runs meanwhile.
    fn drop(&mut self) {
        let Some(cached) = self.cached.take() else {
            return;
        };
        context::try_current(|core| match self.task {
            Some(task) if !cached.is_torn() => core.executor.keep(task, cached),
            _ => core.executor.leave(cached),
        });
    }
}
