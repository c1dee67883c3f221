//! The shipped file and the reference say what the program does.

use super::*;

#[test]
fn the_shipped_file_says_what_holds_without_it() {
    let shipped = good(SHIPPED_FILE, &[]);
    assert_eq!(settled(&shipped), settled(&good("{}", &[])));
    assert_eq!((shipped.warnings.len(), shipped.notes.len()), (0, 0));
}
