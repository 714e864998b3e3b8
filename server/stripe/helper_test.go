package stripe_test

const testLedger = "5f0c6a9be1d84c7f9d3e2b1a40c8e7d6"
