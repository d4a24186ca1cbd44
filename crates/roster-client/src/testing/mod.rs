//! For the tests of a service that uses this SDK.
