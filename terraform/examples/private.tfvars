# In private subnets without a way out: what the functions need comes through endpoints. Put your own ids here.
name = "firebrick-private"

vpc = {
  id              = "vpc-0123456789abcdef0"
  subnet_ids      = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
  route_table_ids = ["rtb-0123456789abcdef0"]
}

worker = {}
