//! `roster get NAME`: who serves it.

use roster_core::{Selector, ServiceName};

use super::{node, words};
use crate::exit::{Ending, Exit};
use crate::render::{Instances, OneInstance, Screen};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roster get orders
  roster get orders --main
  roster get orders --output text | cut -f1     the addresses alone
  roster get orders --output json

The main is marked with * in the table. Ends with 3 when the service has no instance.
Fields of --output text: address, kind, version, state, session, instance, weight, zone,
fencing token, service.")]
pub(crate) struct Get {
    /// The service
    #[arg(value_name = "NAME", value_parser = words::service)]
    service: ServiceName,
    /// Only its main
    #[arg(long)]
    main: bool,
}

pub(crate) async fn run(get: Get, nodes: &[String], screen: Screen) -> anyhow::Result<Exit> {
    let client = node::client(nodes)?;
    let nobody = || Ending::error(Exit::NotFound, format!("no instance of {} is registered", get.service));
    let main = client.get_main(&get.service).await?;
    if get.main {
        let main = main.ok_or_else(nobody)?;
        screen.show(&OneInstance::new(&main, Some(main.id)))?;
        return Ok(Exit::Success);
    }
    let instances = client.list(&Selector::Service(get.service.clone())).await?;
    if instances.is_empty() {
        return Err(nobody());
    }
    screen.show(&Instances::new(&instances, main.map(|main| main.id)))?;
    Ok(Exit::Success)
}
