//! Rigid bodies in a plane, by `rapier2d`: what the environments made of bodies, hinges and ground share.
//!
//! A [`World`] is plain data. Bodies that move touch the ground alone, never one another. Units are metres,
//! seconds, kilograms, radians.
//!
//! Bodies that hang on one another are one chain in reduced coordinates (Featherstone), so a hinge cannot
//! come apart and a contact at a light leg feels the heavy body above. A step is one semi-implicit Euler
//! step, as in Box2D: contacts, motors and limits are solved for the new velocities, which then move the
//! bodies.

use rapier2d::prelude::{
    BroadPhaseBvh, CCDSolver, CoefficientCombineRule, ColliderBuilder, ColliderSet, GenericJoint,
    Group, ImpulseJointSet, IntegrationParameters, InteractionGroups, InteractionTestMode,
    IslandManager, JointAxis, MultibodyJointSet, NarrowPhase, PhysicsPipeline, Pose,
    RevoluteJointBuilder, RigidBodyBuilder, RigidBodyHandle, RigidBodySet, Rotation, SharedShape,
    SoftBodySet, Vector,
};
use serde::{Deserialize, Serialize};

const GROUND: Group = Group::GROUP_1;
const MOVING: Group = Group::GROUP_2;
/// The damping of a motor that lets no other velocity pass while its torque suffices.
const RIGID: f32 = 1e6;

/// Bodies, what joins them, and the ground.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct World {
    gravity: Vector,
    parameters: IntegrationParameters,
    islands: IslandManager,
    broad_phase: BroadPhaseBvh,
    narrow_phase: NarrowPhase,
    bodies: RigidBodySet,
    colliders: ColliderSet,
    joints: ImpulseJointSet,
    hinges: MultibodyJointSet,
    soft_bodies: SoftBodySet,
    ccd: CCDSolver,
    #[serde(skip)]
    scratch: Scratch,
}

/// Memory of the engine that holds nothing from one step to the next.
#[derive(Default)]
struct Scratch(PhysicsPipeline);

impl Clone for Scratch {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// What a moving body is made of.
pub(crate) struct Matter {
    /// Mass of a square metre, in kg.
    pub density: f32,
    /// Coulomb's coefficient; of two bodies the geometric mean counts.
    pub friction: f32,
}

/// A moving body: its frame has the origin that its shape was given in.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Body {
    handle: RigidBodyHandle,
    /// The centre of mass in the body's frame. The engine's own frame has its origin there.
    center: [f32; 2],
}

/// Whether a body touches the ground, as Box2D's listeners have it: a new piece of ground means yes, and one
/// that is left means no, even where another is still touched.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Touch {
    pieces: u64,
    /// The answer.
    pub contact: bool,
}

impl Touch {
    /// Looks again; whether a new piece is touched.
    pub fn update(&mut self, world: &World, body: &Body) -> bool {
        let pieces = world.touched(body);
        let (begun, ended) = (pieces & !self.pieces != 0, self.pieces & !pieces != 0);
        self.pieces = pieces;
        self.contact = !ended && (begun || self.contact);
        begun
    }
}

/// A hinge between two bodies, with a motor.
pub(crate) struct Hinge {
    /// Where it sits in the first body's and in the second body's frame.
    pub anchors: [[f32; 2]; 2],
    /// The angles of the second body seen from the first between which it turns, in rad.
    pub limits: [f32; 2],
    /// The angle at first.
    pub start: f32,
    /// The angular velocity that the motor strives for, in rad/s.
    pub motor_speed: f32,
    /// The largest torque of the motor, in N m.
    pub motor_torque: f32,
}

impl World {
    /// An empty world. Velocities are solved for by `iterations` sweeps over all contacts and motors.
    pub fn new(gravity: f32, time_step: f32, iterations: usize) -> Self {
        let parameters = IntegrationParameters {
            dt: time_step,
            num_solver_iterations: 1,
            num_internal_pgs_iterations: iterations,
            max_ccd_substeps: 0,
            contact_recycling: false,
            friction_in_bias_pass: true,
            ..IntegrationParameters::default()
        };
        Self {
            gravity: Vector::new(0.0, gravity),
            parameters,
            islands: IslandManager::new(),
            broad_phase: BroadPhaseBvh::new(),
            narrow_phase: NarrowPhase::new(),
            bodies: RigidBodySet::new(),
            colliders: ColliderSet::new(),
            joints: ImpulseJointSet::new(),
            hinges: MultibodyJointSet::new(),
            soft_bodies: SoftBodySet::new(),
            ccd: CCDSolver::new(),
            scratch: Scratch::default(),
        }
    }

    /// Adds a straight piece of ground with the number `piece`.
    pub fn ground(&mut self, [from, to]: [[f32; 2]; 2], friction: f32, piece: usize) {
        let segment = ColliderBuilder::segment(from.into(), to.into())
            .friction(friction)
            .friction_combine_rule(CoefficientCombineRule::GeometricMean)
            .collision_groups(groups(GROUND, MOVING))
            .user_data(piece as u128);
        self.colliders.insert(segment);
    }

    /// Adds a moving body of one shape, at rest.
    pub fn body(
        &mut self,
        shape: SharedShape,
        matter: &Matter,
        [x, y]: [f32; 2],
        angle: f32,
    ) -> Body {
        let center = shape.mass_properties(matter.density).local_com;
        let at = Vector::new(x, y) + Rotation::new(angle) * center;
        let builder = RigidBodyBuilder::dynamic().translation(at).rotation(angle).can_sleep(false);
        let handle = self.bodies.insert(builder);
        let collider = ColliderBuilder::new(shape)
            .translation(-center)
            .density(matter.density)
            .friction(matter.friction)
            .friction_combine_rule(CoefficientCombineRule::GeometricMean)
            .collision_groups(groups(MOVING, GROUND));
        self.colliders.insert_with_parent(collider, handle, &mut self.bodies);
        self.bodies[handle].recompute_mass_properties_from_colliders(&self.colliders);
        Body { handle, center: [center.x, center.y] }
    }

    /// Hangs a body on another.
    pub fn hinge(&mut self, first: &Body, second: &Body, hinge: &Hinge) {
        let frame = |body: &Body, [x, y]: [f32; 2], angle: f32| {
            let [cx, cy] = body.center;
            Pose::new(Vector::new(x - cx, y - cy), angle)
        };
        let [anchor1, anchor2] = hinge.anchors;
        let mut joint: GenericJoint = RevoluteJointBuilder::new()
            .limits(hinge.limits.map(|angle| angle - hinge.start))
            .motor_velocity(hinge.motor_speed, RIGID)
            .motor_max_force(hinge.motor_torque)
            .into();
        joint.set_local_frame1(frame(first, anchor1, hinge.start));
        joint.set_local_frame2(frame(second, anchor2, 0.0));
        let chain = self.hinges.insert(first.handle, second.handle, joint, true);
        let chain = chain.and_then(|handle| self.hinges.get_mut(handle));
        let (chain, _) = chain.expect("a body hangs on one other");
        chain.damping_mut().fill(0.0);
    }

    /// Lets the motor of the hinge that a body hangs on strive for `speed` (rad/s) with at most `torque` (N m).
    pub fn drive(&mut self, body: &Body, speed: f32, torque: f32) {
        let link = *self.hinges.rigid_body_link(body.handle).expect("every body has a hinge");
        let chain = self.hinges.get_multibody_mut(link.multibody).expect("a link has its chain");
        let joint = &mut chain.link_mut(link.id).expect("a link is in its chain").joint.data;
        joint.set_motor_velocity(JointAxis::AngX, speed, RIGID);
        joint.set_motor_max_force(JointAxis::AngX, torque);
    }

    /// Pushes at a point of the world, with a force (N) during the next step.
    pub fn push(&mut self, body: &Body, [fx, fy]: [f64; 2], [x, y]: [f64; 2]) {
        let force = Vector::new(fx as f32, fy as f32);
        let point = Vector::new(x as f32, y as f32);
        self.bodies[body.handle].add_force_at_point(force, point, true);
    }

    /// Pushes at the centre of mass, with a force (N) and a torque (N m) during the next step.
    pub fn push_center(&mut self, body: &Body, [fx, fy]: [f64; 2], torque: f64) {
        let body = &mut self.bodies[body.handle];
        body.add_force(Vector::new(fx as f32, fy as f32), true);
        body.add_torque(torque as f32, true);
    }

    /// Moves everything on by one time step.
    pub fn step(&mut self) {
        self.scratch.0.step(
            self.gravity,
            &self.parameters,
            &mut self.islands,
            &mut self.broad_phase,
            &mut self.narrow_phase,
            &mut self.bodies,
            &mut self.colliders,
            &mut self.joints,
            &mut self.hinges,
            &mut self.soft_bodies,
            &mut self.ccd,
            &(),
            &(),
        );
    }

    /// Ends the pushes.
    pub fn release(&mut self, body: &Body) {
        self.bodies[body.handle].reset_forces(false);
        self.bodies[body.handle].reset_torques(false);
    }

    /// Where a body's frame is, in m.
    pub fn position(&self, body: &Body) -> [f64; 2] {
        let rigid = &self.bodies[body.handle];
        let [cx, cy] = body.center;
        let origin = rigid.translation() - *rigid.rotation() * Vector::new(cx, cy);
        [f64::from(origin.x), f64::from(origin.y)]
    }

    /// A body's angle within ±π, in rad.
    pub fn angle(&self, body: &Body) -> f64 {
        f64::from(self.bodies[body.handle].rotation().angle())
    }

    /// The velocity of a body's centre (m/s) and its angular velocity (rad/s).
    pub fn velocity(&self, body: &Body) -> ([f64; 2], f64) {
        let link = self.hinges.rigid_body_link(body.handle).expect("every body has a hinge");
        let chain = self.hinges.get_multibody(link.multibody).expect("a link has its chain");
        let velocity = chain.body_jacobian(link.id) * chain.generalized_velocity();
        ([f64::from(velocity[0]), f64::from(velocity[1])], f64::from(velocity[2]))
    }

    /// The pieces of ground that the body touches, one bit each.
    fn touched(&self, body: &Body) -> u64 {
        let mut pieces = 0;
        for &collider in self.bodies[body.handle].colliders() {
            for pair in self.narrow_phase.contact_pairs_with(collider) {
                if pair.has_any_active_contact() {
                    let other =
                        if pair.collider1 == collider { pair.collider2 } else { pair.collider1 };
                    pieces |= 1 << (self.colliders[other].user_data % 64);
                }
            }
        }
        pieces
    }
}
fn groups(member: Group, others: Group) -> InteractionGroups {
    InteractionGroups::new(member, others, InteractionTestMode::And)
}
