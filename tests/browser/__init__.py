"""What a person sees, in a real browser; a package, so that the browser is closed before other tests go on."""
