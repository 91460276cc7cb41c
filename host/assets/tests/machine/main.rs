//! What is measured, compared with what the system's own tools and files say, and with made-up systems.

mod fake;
mod hostile;
mod leases;
mod real;
mod small_disk;
