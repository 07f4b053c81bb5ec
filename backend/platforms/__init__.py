"""One file per shop system; each turns HTTP into a `CartPage`."""
