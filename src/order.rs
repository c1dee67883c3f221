//! Sorting lists whose time does not matter. The standard library's sort is six kilobytes of code for each kind of list; the
//! one here is in the program once.

use std::cmp::Ordering;

/// Puts a list into the order that `compare` says; what is alike stays in the order in which it came.
pub(crate) fn sort_by<T>(list: &mut Vec<T>, compare: &dyn Fn(&T, &T) -> Ordering) {
    let order = order_of(list.len(), &|a, b| compare(&list[a], &list[b]));
    let mut taken: Vec<Option<T>> = list.drain(..).map(Some).collect();
    list.extend(order.into_iter().filter_map(|at| taken[at].take()));
}

/// The same by what `key` says of each.
pub(crate) fn sort_by_key<T, K: Ord>(list: &mut Vec<T>, key: impl Fn(&T) -> K) {
    sort_by(list, &|a, b| key(a).cmp(&key(b)));
}

/// The same for what has an order of its own.
pub(crate) fn sort<T: Ord>(list: &mut Vec<T>) {
    sort_by(list, &T::cmp);
}

/// The places of a list of `len` in their order.
fn order_of(len: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    order.sort_by(|a, b| compare(*a, *b));
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_list_is_put_in_order_as_the_standard_library_does_it(list in prop::collection::vec((0u8..9, any::<u8>()), 0..90)) {
            let (mut ours, mut theirs) = (list.clone(), list.clone());
            sort_by_key(&mut ours, |(key, _)| *key);
            theirs.sort_by_key(|(key, _)| *key);
            prop_assert_eq!(&ours, &theirs, "what is alike stays as it came");
            sort(&mut ours);
            theirs.sort();
            prop_assert_eq!(ours, theirs);
        }
    }
}
