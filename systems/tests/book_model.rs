//! The book against a slow model: one map of orders, from which everything is computed anew.

use std::collections::BTreeMap;

use onbeat_systems::book::{BookLevel, OrderBook};
use onbeat_systems::price::{Price, Qty, Side};
use onbeat_systems::wire::OrderRef;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::proptest;

#[derive(Clone, Copy, Debug)]
enum Operation {
    Add { reference: u64, side: Side, ticks: i64, shares: u64 },
    Execute { reference: u64, shares: u64 },
    Cancel { reference: u64, shares: u64 },
    Delete { reference: u64 },
    Replace { original: u64, reference: u64, ticks: i64, shares: u64 },
}

/// Side, price and open shares of each live order.
#[derive(Default)]
struct Model(BTreeMap<u64, (Side, i64, u64)>);

impl Model {
    /// Applies the operation; whether all of it could be applied.
    fn apply(&mut self, operation: Operation) -> bool {
        match operation {
            Operation::Add { reference, side, ticks, shares } => {
                if shares == 0 || self.0.contains_key(&reference) {
                    return false;
                }
                self.0.insert(reference, (side, ticks, shares));
                true
            }
            Operation::Execute { reference, shares } | Operation::Cancel { reference, shares } => {
                let Some((_, _, left)) = self.0.get_mut(&reference) else { return false };
                let fits = shares <= *left;
                *left = left.saturating_sub(shares);
                if *left == 0 {
                    self.0.remove(&reference);
                }
                fits
            }
            Operation::Delete { reference } => self.0.remove(&reference).is_some(),
            Operation::Replace { original, reference, ticks, shares } => {
                let Some((side, _, _)) = self.0.remove(&original) else { return false };
                self.apply(Operation::Add { reference, side, ticks, shares })
            }
        }
    }

    /// The levels of one side, the best first.
    fn levels(&self, side: Side) -> Vec<BookLevel> {
        let mut sums = BTreeMap::<i64, (u64, u32)>::new();
        for (_, ticks, shares) in self.0.values().filter(|order| order.0 == side) {
            let sum = sums.entry(*ticks).or_default();
            *sum = (sum.0 + shares, sum.1 + 1);
        }
        let mut levels: Vec<_> = sums
            .into_iter()
            .map(|(ticks, (shares, orders))| BookLevel {
                price: Price::from_ticks(ticks),
                qty: Qty::new(shares),
                orders,
            })
            .collect();
        if side == Side::Buy {
            levels.reverse();
        }
        levels
    }
}

fn apply(book: &mut OrderBook, operation: Operation) -> bool {
    let applied = match operation {
        Operation::Add { reference, side, ticks, shares } => {
            book.add(OrderRef(reference), side, Price::from_ticks(ticks), Qty::new(shares))
        }
        Operation::Execute { reference, shares } => {
            book.execute(OrderRef(reference), Qty::new(shares))
        }
        Operation::Cancel { reference, shares } => {
            book.cancel(OrderRef(reference), Qty::new(shares))
        }
        Operation::Delete { reference } => book.delete(OrderRef(reference)),
        Operation::Replace { original, reference, ticks, shares } => book.replace(
            OrderRef(original),
            OrderRef(reference),
            Price::from_ticks(ticks),
            Qty::new(shares),
        ),
    };
    applied.error.is_none()
}

/// A few numbers so that they meet again, and some from all over so that hashes wrap around.
fn reference() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..64_u64, 1 => (0..4_u64).prop_map(|n| u64::MAX - n)]
}

fn operation() -> impl Strategy<Value = Operation> {
    let side = any::<bool>().prop_map(|buy| if buy { Side::Buy } else { Side::Sell });
    let ticks = || prop_oneof![0..40_i64, 1_000_000..1_000_003_i64];
    prop_oneof![
        5 => (reference(), side, ticks(), 0..50_u64).prop_map(|(reference, side, ticks, shares)| {
            Operation::Add { reference, side, ticks, shares }
        }),
        2 => (reference(), 0..50_u64)
            .prop_map(|(reference, shares)| Operation::Execute { reference, shares }),
        1 => (reference(), 0..50_u64)
            .prop_map(|(reference, shares)| Operation::Cancel { reference, shares }),
        2 => reference().prop_map(|reference| Operation::Delete { reference }),
        2 => (reference(), reference(), ticks(), 0..50_u64).prop_map(
            |(original, reference, ticks, shares)| Operation::Replace {
                original, reference, ticks, shares
            }
        ),
    ]
}

proptest! {
    #[test]
    fn the_book_is_what_the_model_says_after_every_operation(
        capacity in 0..40_usize,
        operations in vec(operation(), 1..200),
    ) {
        let mut book = OrderBook::with_capacity(capacity, 0);
        let mut model = Model::default();
        for operation in operations {
            assert_eq!(apply(&mut book, operation), model.apply(operation), "{operation:?}");
            for side in [Side::Buy, Side::Sell] {
                let levels = model.levels(side);
                assert_eq!(book.bbo().side(side), levels.first().copied());
                assert!(book.levels(side).eq(levels.iter().copied()));
                for level in levels {
                    assert_eq!(book.level_qty(side, level.price), level.qty);
                }
            }
            assert_eq!(book.order_count(), model.0.len());
            for (&reference, &(side, ticks, shares)) in &model.0 {
                let order = book.order(OrderRef(reference)).unwrap();
                assert_eq!((order.side, order.price.ticks(), order.qty.shares()), (side, ticks, shares));
            }
        }
    }
}
