"""`python -m tn_contract.cli` is `tn-contract`."""

from tn_contract.cli.root import main

main()
